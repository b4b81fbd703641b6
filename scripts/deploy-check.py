#!/usr/bin/env python3
"""Checks deploy/ on paper: what one file names in another must be there.

Alert rules (severity, texts, runbook anchor, tests that fire and that do not, the table in docs/metrics.md), the Grafana
dashboard and its provisioning, the Kubernetes manifests (names that refer to each other, probes, ports, times, rights) and
the container file. Names of metrics and flags are compared with the programs themselves by `cargo test deploy`.

    scripts/deploy-check.py [--queries FILE]

--queries writes the dashboard's queries as a file of rules, so that promtool can check their syntax.

Exit codes: 0 fine, 1 something is wrong (each fault on a line of its own), 2 usage.
"""

import argparse
import glob
import json
import os
import re
import sys

try:
    import yaml
except ImportError:
    print("deploy-check: PyYAML is needed: python3 -m pip install pyyaml (Debian: python3-yaml)", file=sys.stderr)
    sys.exit(2)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SEVERITIES = {"critical", "warning", "none"}
ALERTS = "deploy/prometheus/alerts.yml"
DASHBOARD = "deploy/grafana/dashboard.json"
LAST_COMMIT_S = 5  # what a stop may take after --shutdown-timeout

FAULTS = []


def fault(where, what):
    FAULTS.append(f"{where}: {what}")


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def documents(path):
    """Every document of a YAML file; a key that is there twice is a fault, as it is for Kubernetes."""

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader, node):
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        for key in {key for key in keys if keys.count(key) > 1}:
            fault(path, f"the key '{key}' is there twice{node.start_mark}")
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        return [document for document in yaml.load_all(text(path), Loader=Loader) if document is not None]
    except yaml.YAMLError as error:
        fault(path, str(error))
        return []


def anchors(path):
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", text(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---------------------------------------------------------------------- alerts


def alerts():
    known = {}
    table = text("docs/metrics.md")
    for group in documents(ALERTS)[0]["groups"]:
        for rule in group["rules"]:
            name = rule["alert"]
            where = f"{ALERTS}: {name}"
            if name in known:
                fault(where, "is there twice")
            known[name] = rule
            if rule.get("labels", {}).get("severity") not in SEVERITIES:
                fault(where, f"its severity is none of {', '.join(sorted(SEVERITIES))}")
            notes = rule.get("annotations", {})
            for note in ("summary", "description", "runbook"):
                if not notes.get(note, "").strip():
                    fault(where, f"has no {note}")
            page, _, anchor = notes.get("runbook", "").partition("#")
            if not os.path.isfile(os.path.join(ROOT, page)):
                fault(where, f"there is no {page}")
            elif anchor not in anchors(page):
                fault(where, f"{page} has no section #{anchor}")
            if not re.search(rf"^\| `{name}` \| {rule.get('labels', {}).get('severity')} \|", table, re.MULTILINE):
                fault(where, "is not in the table of docs/metrics.md with its severity")
    fires, silent = set(), set()
    for test in documents("deploy/prometheus/alerts_test.yml")[0]["tests"]:
        for expected in test["alert_rule_test"]:
            (fires if expected["exp_alerts"] else silent).add(expected["alertname"])
    for name in known:
        if name not in fires:
            fault(ALERTS, f"no test shows that {name} fires")
        # It is the one that never is.
        if name not in silent and name != "Watchdog":
            fault(ALERTS, f"no test shows that {name} stays silent")
    for name in (fires | silent) - set(known):
        fault("deploy/prometheus/alerts_test.yml", f"there is no alert {name}")
    return len(known)


# ------------------------------------------------------------------- dashboard


def dashboard(queries):
    board = json.loads(text(DASHBOARD))
    source = documents("deploy/grafana/provisioning/datasources/prometheus.yml")[0]["datasources"][0]
    seen, cells, rules = set(), {}, []
    for panel in board["panels"]:
        where = f"{DASHBOARD}: {panel['title']}"
        if panel["id"] in seen:
            fault(where, f"the id {panel['id']} is there twice")
        seen.add(panel["id"])
        at = panel["gridPos"]
        if at["x"] + at["w"] > 24:
            fault(where, "is wider than the screen")
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            if cell in cells:
                fault(where, f"lies over {cells[cell]}")
                break
            cells[cell] = panel["title"]
        if panel["type"] == "row":
            continue
        if not panel.get("description"):
            fault(where, "has no description")
        if not panel.get("targets"):
            fault(where, "asks nothing")
        for target in panel.get("targets", []):
            for asked in (panel.get("datasource"), target.get("datasource")):
                if (asked or {}).get("uid") != source["uid"]:
                    fault(where, f"its data source is not {source['uid']}")
            rules.append(target["expr"])
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    if rows[:1] != ["Golden signals"]:
        fault(DASHBOARD, "does not begin with the golden signals")
    if queries:
        plain = [re.sub(r"\$__rate_interval", "5m", expr).replace("$job", ".*").replace("$instance", ".*") for expr in rules]
        rules = [{"record": f"dashboard:query{number}", "expr": expr} for number, expr in enumerate(plain)]
        with open(queries, "w", encoding="utf-8") as file:
            yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
    return len(seen) - len(rows)


# ------------------------------------------------------------------ Kubernetes


def seconds(duration):
    match = re.fullmatch(r"(\d+)(ms|s|m|h)", duration)
    return int(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2]] if match else None


def kubernetes():
    folder = "deploy/kubernetes"
    kustomization = documents(f"{folder}/kustomization.yml")[0]
    paths = sorted(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, folder, "*.yml")))
    for name in kustomization["resources"]:
        if f"{folder}/{name}" not in paths:
            fault(f"{folder}/kustomization.yml", f"there is no {name}")
    objects = {}
    for path in paths:
        for document in documents(path):
            kind = document.get("kind")
            if not kind or not document.get("apiVersion"):
                fault(path, "an object has no kind or no apiVersion")
            elif kind != "Kustomization":
                objects[kind, document["metadata"]["name"]] = document
    for (kind, name), document in objects.items():
        if kind == "StatefulSet":
            stateful_set(f"{folder}: {name}", document["spec"], objects)
        if kind in ("PodDisruptionBudget", "Service"):
            wanted = document["spec"]["selector"]
            wanted = wanted.get("matchLabels", wanted) if kind != "Service" else wanted
            pods = [o["spec"]["template"]["metadata"]["labels"] for (k, _), o in objects.items() if k == "StatefulSet"]
            if not any(wanted.items() <= labels.items() for labels in pods):
                fault(f"{folder}: {kind} {name}", "selects no pod")
    return len(objects)


def stateful_set(where, spec, objects):
    if ("Service", spec["serviceName"]) not in objects:
        fault(where, f"there is no service {spec['serviceName']}")
    pod = spec["template"]["spec"]
    if not spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items():
        fault(where, "does not select its own pods")
    if not pod.get("securityContext", {}).get("runAsNonRoot"):
        fault(where, "may run as root")
    for container in pod["containers"]:
        flags = dict(word[2:].split("=", 1) for word in container["args"] if word.startswith("--"))
        rights = container.get("securityContext", {})
        if rights.get("allowPrivilegeEscalation") is not False or not rights.get("readOnlyRootFilesystem"):
            fault(where, "has more rights than it needs")
        if rights.get("capabilities", {}).get("drop") != ["ALL"]:
            fault(where, "keeps capabilities")
        drain = seconds(flags.get("shutdown-timeout", ""))
        if drain is None or pod.get("terminationGracePeriodSeconds", 0) < drain + LAST_COMMIT_S:
            fault(where, f"would be killed before --shutdown-timeout and {LAST_COMMIT_S} s are over")
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        served = flags.get("metrics-addr", ":").rsplit(":", 1)[1]
        for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            get = container.get(probe, {}).get("httpGet", {})
            if get.get("path") != path or str(ports.get(get.get("port"))) != served:
                fault(where, f"{probe} does not ask {path} where --metrics-addr serves it")
        if spec["template"]["metadata"]["annotations"].get("prometheus.io/port") != served:
            fault(where, "its annotation names another port than --metrics-addr")
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        for name in set(mounts) ^ (volumes | claims):
            fault(where, f"the volume {name} is declared and not mounted, or mounted and not declared")
        for flag in ("events-file", "log-file"):
            if not any(name in claims and flags.get(flag, "").startswith(path + "/") for name, path in mounts.items()):
                fault(where, f"--{flag} does not lie in a volume that is kept")
        for volume in pod.get("volumes", []):
            for item in volume.get("configMap", {}).get("items", []):
                refers(where, objects, "ConfigMap", volume["configMap"]["name"], item["key"])
        for variable in container.get("env", []):
            for kind, reference in variable.get("valueFrom", {}).items():
                kind = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}[kind]
                refers(where, objects, kind, reference["name"], reference["key"])


def refers(where, objects, kind, name, key):
    found = objects.get((kind, name), {})
    if key not in found.get("data", {}) and key not in found.get("stringData", {}):
        fault(where, f"there is no {key} in the {kind} {name}")


# ------------------------------------------------------------------- container


def container():
    path = "deploy/Containerfile"
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text(path), flags=re.MULTILINE)).splitlines()
    steps = [line.split(None, 1) for line in lines if line.strip()]
    stages = [step[1] for step in steps if step[0] == "FROM"]
    for image in stages:
        if not re.search(r":(?!latest\b)[\w.-]+", image):
            fault(path, f"'{image}' names no version")
    minimum = re.search(r'^rust-version = "(.*)"', text("Cargo.toml"), re.MULTILINE)[1]
    if f"rust:{minimum}-" not in stages[0]:
        fault(path, f"builds with another Rust than {minimum}")
    if len(stages) != 2 or "-slim" not in stages[1]:
        fault(path, "is not a build and a slim image")
    users = [step[1] for step in steps if step[0] == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1]):
        fault(path, "does not end as a user with a number who is not root")
    features = re.search(r"--features (\S+)", text(path))[1].split(",")
    declared = re.findall(r"^(\w+) = \[", text("Cargo.toml"), re.MULTILINE)
    for feature in features:
        if feature not in declared:
            fault(path, f"there is no feature {feature}")
    for role in ("producer", "tracker", "monitor", "dlq", "audit"):
        if role not in features:
            fault(path, f"leaves out {role}")
    for step in steps:
        if step[0] == "COPY" and "--from" not in step[1]:
            for source in step[1].split()[:-1]:
                if not os.path.exists(os.path.join(ROOT, source)):
                    fault(path, f"there is no {source}")
                if f"!{source}\n" not in text(f"{path}.dockerignore"):
                    fault(path, f"{source} is left out by {path}.dockerignore")
    return len(steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--queries", metavar="FILE", help="write the dashboard's queries as rules for promtool")
    options = parser.parse_args()
    said = f"{alerts()} alerts, {dashboard(options.queries)} panels, {kubernetes()} Kubernetes objects, {container()} container steps"
    for one in FAULTS:
        print(f"deploy-check: {one}", file=sys.stderr)
    if FAULTS:
        return 1
    print(f"deploy-check: {said}: all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
