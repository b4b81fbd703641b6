#!/usr/bin/env python3
"""Checks a compose file for Kafka without a Docker engine.

Reads the file as Compose does, checks what can be checked on paper (keys, image
tags, health checks, volumes, dependencies, ports) and, with --out DIR, writes
what is needed to run the same thing outside of Docker, for compose-check.sh:

    server.properties   the broker's KAFKA_* environment as the apache/kafka image turns it into settings
    environment         the same environment, one KEY=VALUE a line
    init.sh             the command of the one-shot service that creates the topics
    healthcheck.sh      the broker's health check

Adapted is only what exists in a container alone: the data folder (--log-dirs),
host names of services (to 127.0.0.1) and ports (moved to free ones).

Exit codes: 0 fine, 1 the file is wrong (each fault on a line of its own), 2 usage.
"""

import argparse
import os
import re
import shlex
import socket
import sys

try:
    import yaml
except ImportError:
    print("compose-check: PyYAML is needed: python3 -m pip install pyyaml (Debian: python3-yaml)", file=sys.stderr)
    sys.exit(2)

HOST = "127.0.0.1"
DURATION = re.compile(r"^(\d+(\.\d+)?(h|m|s|ms|us))+$")
INTERPOLATION = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::?-(?P<default>[^}]*))?\}|(?P<bare>\w+))")

TOP_KEYS = {"name", "services", "volumes", "networks", "configs", "secrets"}
SERVICE_KEYS = {
    "image", "build", "command", "entrypoint", "environment", "env_file", "ports", "expose", "volumes", "networks",
    "depends_on", "healthcheck", "restart", "hostname", "container_name", "user", "working_dir", "labels", "profiles",
    "stop_grace_period", "stop_signal", "init", "read_only", "tmpfs", "ulimits", "cap_add", "cap_drop", "security_opt",
    "mem_limit", "cpus", "deploy", "extra_hosts", "logging", "configs", "secrets", "pull_policy", "platform", "tty",
    "network_mode",
}
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
RESTARTS = re.compile(r"^(no|always|unless-stopped|on-failure(:\d+)?)$")

# Read by the image's start scripts; no settings of the broker.
NOT_SETTINGS = {
    "KAFKA_VERSION", "KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS", "KAFKA_OPTS", "KAFKA_JMX_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS", "KAFKA_LOG4J_ROOT_LOGLEVEL", "KAFKA_LOG4J_LOGGERS", "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_JMX_HOSTNAME",
}
# Without these the image would start something else than what the file says.
REQUIRED = {
    "KAFKA_NODE_ID", "KAFKA_PROCESS_ROLES", "KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_LOG_DIRS",
    "KAFKA_CONTROLLER_LISTENER_NAMES", "CLUSTER_ID",
}


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, as Compose does; YAML libraries keep the last one silently."""


def _mapping(loader, node, deep=False):
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"the key '{key}' is there twice", problem_mark=key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


StrictLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda loader, node: _mapping(loader, node, deep=True)
)


def interpolate(value):
    """Replaces ${NAME:-default} with its default: the check must not depend on who runs it. $$ becomes $."""
    if isinstance(value, dict):
        return {key: interpolate(item) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match):
        if match.group(0) == "$$":
            return "$"
        if match.group("default") is None:
            raise ValueError(f"'{match.group(0)}' has no default: the file would depend on who runs it")
        return match.group("default")

    return INTERPOLATION.sub(replace, value)


class Check:
    """Collects faults, so that one run shows all of them."""

    def __init__(self, document, folder):
        self.faults = []
        self.folder = folder
        self.document = document if isinstance(document, dict) else {}
        if not isinstance(document, dict):
            self.fault("the file", "holds no mapping")
        self.services = self.document.get("services") or {}
        if not isinstance(self.services, dict):
            self.fault("services", "is no mapping")

    def fault(self, where, what):
        self.faults.append(f"{where}: {what}")

    def run(self):
        if self.faults:
            return
        for key in self.document:
            if key not in TOP_KEYS and not str(key).startswith("x-"):
                self.fault(key, "no key of a compose file" + (" any more" if key == "version" else ""))
        if not self.services:
            self.fault("services", "there are none")
        for name, service in self.services.items():
            if not isinstance(service, dict):
                self.fault(f"services.{name}", "is no mapping")
        if self.faults:
            return
        used = set()
        for name, service in self.services.items():
            where = f"services.{name}"
            for key in service:
                if key not in SERVICE_KEYS:
                    self.fault(f"{where}.{key}", "unknown key")
            self.image(where, service)
            self.environment(where, service)
            self.healthcheck(where, service)
            self.ports(where, service)
            self.network(where, service)
            self.dependencies(where, service)
            used |= self.volumes(where, service)
            if not RESTARTS.match(str(service.get("restart", "no"))):
                self.fault(f"{where}.restart", f"'{service['restart']}' is no restart policy")
            if "stop_grace_period" in service:
                self.duration(f"{where}.stop_grace_period", service["stop_grace_period"])
        for volume in self.document.get("volumes") or {}:
            if volume not in used:
                self.fault(f"volumes.{volume}", "is declared and never used")
        self.cycles()

    def image(self, where, service):
        image = service.get("image")
        if not isinstance(image, str):
            self.fault(where, "has no image")
        elif not re.search(r":(?!latest$)[\w.-]+(@sha256:\w+)?$", image):
            self.fault(f"{where}.image", f"'{image}' names no fixed version")

    def environment(self, where, service):
        values = service.get("environment", {})
        if not isinstance(values, dict):
            self.fault(f"{where}.environment", "must be a mapping (KEY: value)")
            return
        for key, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                self.fault(f"{where}.environment.{key}", f"{value!r} must be in quotes: Compose takes strings and numbers")

    def duration(self, where, value):
        if not DURATION.match(str(value)):
            self.fault(where, f"'{value}' is no duration (such as 10s or 1m30s)")

    def healthcheck(self, where, service):
        health = service.get("healthcheck")
        if health is None:
            return
        where = f"{where}.healthcheck"
        for key, value in health.items():
            if key not in HEALTH_KEYS:
                self.fault(f"{where}.{key}", "unknown key")
            elif key in ("interval", "timeout", "start_period", "start_interval"):
                self.duration(f"{where}.{key}", value)
        if not isinstance(health.get("retries", 1), int) or isinstance(health.get("retries"), bool):
            self.fault(f"{where}.retries", "must be a whole number")
        test = health.get("test")
        if isinstance(test, list):
            if len(test) < 2 or test[0] not in ("CMD", "CMD-SHELL") or not all(isinstance(word, str) for word in test):
                self.fault(f"{where}.test", "must start with CMD or CMD-SHELL and name a command")
        elif not (isinstance(test, str) and test):
            self.fault(f"{where}.test", "is missing")

    def ports(self, where, service):
        for port in service.get("ports", []):
            match = re.match(r"^(?:(?P<ip>[\d.]+):)?(?P<host>\d+):(?P<container>\d+)(/tcp|/udp)?$", str(port))
            if not match:
                self.fault(f"{where}.ports", f"'{port}' is not ADDRESS:PORT:PORT")
            elif match.group("ip") != HOST:
                self.fault(f"{where}.ports", f"'{port}' is open to the network, without authentication: publish it on {HOST}")

    def network(self, where, service):
        mode = service.get("network_mode")
        if mode is None:
            return
        if mode != "host":
            self.fault(f"{where}.network_mode", f"'{mode}' is not 'host', the only one that is used here")
        if service.get("ports"):
            self.fault(f"{where}.ports", "on the computer's own network nothing is published")
        # There, Compose cannot keep what listens on loopback: the program itself has to.
        said = [str(word) for word in service.get("command") or []] + [str(v) for v in (service.get("environment") or {}).values()]
        if not any(HOST in word for word in said):
            self.fault(f"{where}.network_mode", f"on the computer's own network it must be told to listen on {HOST}")

    def dependencies(self, where, service):
        where = f"{where}.depends_on"
        for name, condition in self.depends_on(service).items():
            if name not in self.services:
                self.fault(where, f"there is no service '{name}'")
            elif condition not in CONDITIONS:
                self.fault(f"{where}.{name}", f"'{condition}' is no condition")
            elif condition == "service_healthy" and not self.services[name].get("healthcheck"):
                self.fault(f"{where}.{name}", "waits for a health check that the service does not have")

    @staticmethod
    def depends_on(service):
        value = service.get("depends_on") or {}
        if isinstance(value, list):
            return {name: "service_started" for name in value}
        return {name: (rule or {}).get("condition") for name, rule in value.items()}

    def cycles(self):
        def visit(name, path):
            if name in path:
                self.fault("depends_on", "goes round: " + " -> ".join([*path[path.index(name):], name]))
                return
            for other in self.depends_on(self.services[name]):
                if other in self.services:
                    visit(other, [*path, name])

        before = len(self.faults)
        for name in self.services:
            visit(name, [])
            if len(self.faults) > before:
                return  # the same circle would be named once for each of its members

    def volumes(self, where, service):
        declared = self.document.get("volumes") or {}
        used = set()
        for entry in service.get("volumes", []):
            source, _, target = str(entry).partition(":")
            if not target.startswith("/"):
                self.fault(f"{where}.volumes", f"'{entry}' is not SOURCE:/TARGET")
            elif source.startswith((".", "/", "~")):
                if not os.path.exists(os.path.join(self.folder, os.path.expanduser(source))):
                    self.fault(f"{where}.volumes", f"'{source}' does not exist")
            elif source not in declared:
                self.fault(f"{where}.volumes", f"'{source}' is not declared under volumes")
            else:
                used.add(source)
        return used

    def the_one(self, what, wanted):
        """The one service that `wanted` is true for."""
        found = [name for name, service in self.services.items() if wanted(service)]
        if len(found) != 1:
            self.fault("services", f"{len(found)} services {what}; one was expected")
            return None, {}
        return found[0], self.services[found[0]]

    def kafka(self, image):
        """What only this project's file must have."""
        name, broker = self.the_one("set KAFKA_PROCESS_ROLES", lambda s: "KAFKA_PROCESS_ROLES" in (s.get("environment") or {}))
        if name is None:
            return None, None, None
        where = f"services.{name}"
        if image and broker.get("image") != image:
            self.fault(f"{where}.image", f"is '{broker.get('image')}', but the project's version is '{image}'")
        if not broker.get("healthcheck"):
            self.fault(where, "has no health check, so nothing can wait for it")
        environment = broker["environment"]
        for key in sorted(REQUIRED - set(environment)):
            self.fault(f"{where}.environment", f"{key} is missing")
        targets = [str(entry).split(":")[1] for entry in broker.get("volumes", []) if ":" in str(entry)]
        for folder in str(environment.get("KAFKA_LOG_DIRS", "")).split(","):
            if not any(folder == target or folder.startswith(target + "/") for target in targets):
                self.fault(f"{where}.environment.KAFKA_LOG_DIRS", f"'{folder}' lies in no volume: the data would go with the container")
        listeners = dict(re.findall(r"(\w+)://[^:,]*:(\d+)", str(environment.get("KAFKA_LISTENERS", ""))))
        published = {str(port).split(":")[-1] for port in broker.get("ports", [])}
        for port in published - set(listeners.values()):
            self.fault(f"{where}.ports", f"port {port} is published, but nothing listens there")
        outside = {str(port).split(":")[-2] for port in broker.get("ports", [])}
        advertised = re.findall(r"//([^:,]*):(\d+)", str(environment.get("KAFKA_ADVERTISED_LISTENERS", "")))
        if outside.isdisjoint(port for host, port in advertised if host in ("localhost", HOST)):
            self.fault(f"{where}.environment.KAFKA_ADVERTISED_LISTENERS", "names no port that is published on this computer")
        init_name, init = self.the_one(
            "wait for the broker's health and end", lambda s: self.depends_on(s).get(name) == "service_healthy"
        )
        if init_name and str(init.get("restart", "no")) not in ("no", "on-failure"):
            self.fault(f"services.{init_name}.restart", "a one-shot service must not start again")
        return name, broker, init


def setting_name(key):
    """KAFKA_FOO_BAR -> foo.bar, `__` -> `_`, `___` -> `-`: the order of the image's own replacements."""
    name = key[len("KAFKA_"):].lower().replace("_", ".")
    return name.replace("...", "-").replace("..", "_")


def settings(environment):
    return {
        setting_name(key): str(value)
        for key, value in environment.items()
        if key.startswith("KAFKA_") and key not in NOT_SETTINGS
    }


def argv(command):
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command or []]


class Adapter:
    """Moves the containers' addresses to free ports of this machine."""

    ADDRESSES = ("KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_CONTROLLER_QUORUM_VOTERS",
                 "KAFKA_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS")

    def __init__(self, services, environment):
        self.environment = environment
        text = ",".join(str(environment.get(key, "")) for key in self.ADDRESSES)
        ports = sorted({int(port) for port in re.findall(r":(\d+)", text)})
        offset = self.free_offset(ports)
        self.ports = {str(port): str(port + offset) for port in ports}
        hosts = "|".join(map(re.escape, [*services, "localhost", HOST, "0.0.0.0"]))
        # A listener's host may be empty ("HOST://:9092": every address).
        self.address = re.compile(rf"(?:(?<=[@/\s,='\"])|^)(?:{hosts}|(?<=//)):(\d+)\b")

    @staticmethod
    def free_offset(ports):
        # Below 32768, where systems do not hand out ports to connections.
        for offset in range(12300, 32767 - max(ports, default=0), 100):
            try:
                for port in ports:
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind((HOST, port + offset))
                return offset
            except OSError:
                continue
        sys.exit("compose-check: no free ports on this machine")

    def text(self, value):
        return self.address.sub(lambda match: f"{HOST}:{self.ports.get(match.group(1), match.group(1))}", value)

    def adapted_environment(self, log_dirs):
        adapted = {
            key: self.text(str(value)) if key in self.ADDRESSES else str(value) for key, value in self.environment.items()
        }
        adapted["KAFKA_LOG_DIRS"] = log_dirs
        return adapted


def script(words):
    return "exec " + " ".join(shlex.quote(word) for word in words) + "\n"


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", help="the compose file")
    parser.add_argument("--image", help="the image that the broker must have")
    parser.add_argument("--out", metavar="DIR", help="write what is needed to run it outside of Docker")
    parser.add_argument("--log-dirs", metavar="DIR", help="the broker's data folder there (with --out)")
    options = parser.parse_args()
    if options.out and not options.log_dirs:
        parser.error("--out needs --log-dirs")

    try:
        with open(options.file, encoding="utf-8") as file:
            document = interpolate(yaml.load(file, Loader=StrictLoader))
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        print(f"compose-check: {options.file}: {error}", file=sys.stderr)
        return 1

    check = Check(document, os.path.dirname(os.path.abspath(options.file)))
    check.run()
    # The second part takes for granted what the first has checked.
    name, broker, init = check.kafka(options.image) if not check.faults else (None, None, None)
    for fault in check.faults:
        print(f"compose-check: {options.file}: {fault}", file=sys.stderr)
    if check.faults:
        return 1
    print(f"compose-check: {options.file}: the structure is right")

    if options.out:
        adapter = Adapter(check.services, broker["environment"])
        environment = adapter.adapted_environment(options.log_dirs)
        test = broker["healthcheck"]["test"]
        if isinstance(test, str):
            test = ["CMD-SHELL", test]
        words = test[1:] if test[0] == "CMD" else ["sh", "-c", *test[1:]]
        write(options.out, "server.properties", "".join(f"{key}={value}\n" for key, value in settings(environment).items()))
        write(options.out, "environment", "".join(f"{key}={value}\n" for key, value in environment.items()))
        write(options.out, "healthcheck.sh", script([adapter.text(word) for word in words]))
        write(options.out, "init.sh", script([adapter.text(word) for word in argv(init.get("entrypoint")) + argv(init.get("command"))]))
        print(f"compose-check: '{name}' moved to " + ", ".join(f"{inner} -> {outer}" for inner, outer in adapter.ports.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
