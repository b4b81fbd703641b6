"""Runs the measurements of scripts/bench.sh, and writes them down as JSON, tables and plots."""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import bench_report
import bench_soak
import bench_spring

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("BENCH_BIN", ROOT / "target/release"))


def say(text):
    print(f"bench: {text}", flush=True)


def run(*command):
    """Runs a program to its end: what it printed, and what it cost."""
    begun = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"bench: {command} ended with {process.returncode}")
    return printed, {
        "wall_s": wall,
        "user_s": usage.ru_utime,
        "system_s": usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def bench(*arguments):
    printed, cost = run(BIN / "examples/bench", *arguments)
    return {**cost, **json.loads(printed)}


def create_topic(name, partitions, *config):
    more = [part for setting in config for part in ("--config", setting)]
    subprocess.run(
        [ROOT / "scripts/kafka.sh", "topics", "--create", "--topic", name, "--partitions", str(partitions), *more],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def delete_topic(name):
    subprocess.run(
        [ROOT / "scripts/kafka.sh", "topics", "--delete", "--topic", name], check=True, stdout=subprocess.DEVNULL
    )


def segments(folder):
    """The audit log's files, in their order: the live one is the last."""
    live = folder / "tracker.events"
    return [*sorted(folder.glob("tracker.events.0*")), live]


def moment(line):
    return datetime.datetime.fromisoformat(json.loads(line)["timestamp"])


def span(folder):
    """The times of the first outcome and of the last line, as the audit log itself says."""
    files = segments(folder)
    with open(files[0], "rb") as file:
        first = next((line for line in file if b'"message.received"' in line[:120]), None)
    with open(files[-1], "rb") as file:
        file.seek(max(0, files[-1].stat().st_size - (1 << 20)))
        last = file.read().splitlines()[-1]
    return (moment(first or last), moment(last))


def worked_seconds(*folders):
    """From the first outcome to the last line, of all these trackers together."""
    spans = [span(folder) for folder in folders]
    return (max(last for _, last in spans) - min(first for first, _ in spans)).total_seconds()


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def warmed(folder, records, size):
    """The same in memory, after as much memory as the audit lines will take was in use there a moment ago. What a virtual
    machine has not used for a while its host has to find first, and that takes longer than the work that is measured."""
    path, block = fresh(folder) / "warm", bytes(4 << 20)
    with open(path, "wb", buffering=0) as file:
        for _ in range(records * (2 * size + 600) // len(block) + 1):
            file.write(block)
    path.unlink()
    return folder


def tracker_command(topic, group, folder, *more, letters=None):
    return [
        BIN / "tracker", "--topic", topic, "--group", group, "--dlq-topic", letters or f"{topic}-dlq",
        "--events-file", folder / "tracker.events", "--log-file", folder / "tracker.log", *more,
    ]  # fmt: skip


def tracker(topic, group, folder, *more, letters=None):
    _, cost = run(*tracker_command(topic, group, folder, "--exit-at-end", *more, letters=letters))
    return {**cost, "seconds": worked_seconds(folder)}


def verify(folder):
    _, cost = run(BIN / "audit", "verify", *segments(folder))
    return {**cost, "bytes": sum(path.stat().st_size for path in segments(folder))}


def outcomes(folder, kind=b'"message.received"'):
    """How many outcomes the audit log holds."""
    count = 0
    for path in segments(folder):
        with open(path, "rb") as file:
            count += sum(b'"message.received"' in line[:120] and kind in line for line in file)
    return count


def disk_bandwidth(folder):
    """What the disk takes in pieces as the tracker writes them, each synced, in bytes per second."""
    path, block, count = fresh(folder) / "sequential", os.urandom(2 << 20), 256
    begun = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        for _ in range(count):
            file.write(block)
            os.fdatasync(file.fileno())
    seconds = time.monotonic() - begun
    path.unlink()
    return len(block) * count / seconds


def spring(args, number, wanted):
    """Spring Kafka with the same work, its lines in memory, held against those of the plain loop."""
    folder = warmed(args.memory / "spring", args.records, args.size)
    servers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
    printed, cost = run(*bench_spring.command(args.spring, servers, "orders", f"spring-{number}", folder / "events"))
    bench_spring.check(folder / "events", args.records, wanted)
    shutil.rmtree(folder)
    return {**cost, **json.loads(printed)}


def full_rate(args):
    """Interleaved: bare consumption, the plain loop, Spring, the tracker with the audit log in memory and on disk."""
    say(f"filling a topic with {args.records} orders of {args.size} bytes on 3 partitions")
    create_topic("orders", 3)
    filled = bench("--topic", "orders", "fill", "--records", args.records, "--size", args.size)
    say(f"filled in {filled['seconds']:.1f} s")
    rounds, checked = [], None
    for number in range(args.rounds):
        one = {"consume": bench("--topic", "orders", "consume")}
        folder = warmed(args.memory / "loop", args.records, args.size)
        one["loop"] = bench("--topic", "orders", "loop", "--group", f"loop-{number}", "--events", folder / "events")
        wanted = args.spring and bench_spring.sample(folder / "events")
        shutil.rmtree(folder)
        if args.spring:
            one["spring"] = spring(args, number, wanted)
        for name, place in (("tracker", args.memory), ("tracker_disk", args.disk)):
            in_memory = place == args.memory
            folder = place / "tracker"
            folder = warmed(folder, args.records, args.size) if in_memory else fresh(folder)
            one[name] = tracker("orders", f"{name}-{number}", folder, *args.flag)
            found = outcomes(folder)
            if found != args.records:
                sys.exit(f"bench: {found} outcomes for {args.records} orders")
            if in_memory:
                size = sum(path.stat().st_size for path in segments(folder))
                one["audit_bytes"] = size
                if number == args.rounds - 1:
                    checked = verify(folder)
            shutil.rmtree(folder)
        one["disk_bytes_per_s"] = disk_bandwidth(args.disk)
        rounds.append(one)
        say("round %d: " % (number + 1) + ", ".join(
            f"{name} {args.records / one[name]['seconds']:,.0f}/s" for name in bench_report.measured(one)
        ))
    return {"filled": filled, "rounds": rounds, "verify": checked}


def latency(args, rate, place, name):
    """How long orders take at a fixed rate, through a tracker with its default settings."""
    topic = f"latency-{name}"
    create_topic(topic, 3)
    folder = fresh(place / "latency")
    process = subprocess.Popen([str(part) for part in tracker_command(topic, topic, folder, *args.flag)])
    try:
        deadline = time.monotonic() + 60
        while not (folder / "tracker.events").exists():
            if time.monotonic() > deadline or process.poll() is not None:
                sys.exit("bench: the tracker did not start")
            time.sleep(0.1)
        found = bench(
            "--topic", topic, "latency", "--rate", rate, "--seconds", args.seconds,
            "--size", args.size, "--events", folder / "tracker.events",
        )  # fmt: skip
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(folder)
        delete_topic(topic)
    say(f"at {rate}/s, {name}: p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms")
    return {**found, "name": name}


def delays(args, full):
    """Latency at 1,000/s, and at an eighth and half of the full rate."""
    rate = int(bench_report.middle(args.records / one["tracker"]["seconds"] for one in full["rounds"]))
    return [
        latency(args, 1000, args.memory, "memory"),
        latency(args, 1000, args.disk, "disk"),
        latency(args, rate // 8, args.memory, "memory-eighth"),
        latency(args, rate // 2, args.memory, "memory-half"),
    ]


def growth(args):
    """Rate and memory over partitions, trackers and sizes."""
    cells = [(partitions, 1, 1250) for partitions in (1, 3, 12, 100)]
    cells += [(12, 2, 1250), (100, 2, 1250)]
    cells += [(12, 1, size) for size in (300, 5000, 20_000, 100_000)] + [(100, 1, 100_000)]
    found = []
    for number, (partitions, trackers, size) in enumerate(cells):
        records = min(args.records, args.growth_bytes // size)
        topic = f"growth-{number}"
        create_topic(topic, partitions, "max.message.bytes=2000000")
        bench("--topic", topic, "fill", "--records", records, "--size", size)
        folders = [warmed(args.memory / f"growth-{one}", records, size) for one in range(trackers)]
        begun = time.monotonic()
        processes = [
            subprocess.Popen(
                [str(part) for part in tracker_command(topic, topic, folder, "--exit-at-end", *args.flag)]
            )
            for folder in folders
        ]
        usage = []
        for process in processes:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                sys.exit(f"bench: a tracker ended with {process.returncode}")
            usage.append(used)
        wall = time.monotonic() - begun
        seconds = worked_seconds(*folders)
        count = sum(outcomes(folder) for folder in folders)
        if count < records:
            sys.exit(f"bench: {count} outcomes for {records} orders")
        cell = {
            "partitions": partitions, "trackers": trackers, "size": size, "records": records, "repeated": count - records,
            "seconds": seconds, "wall_s": wall,
            "user_s": sum(used.ru_utime for used in usage), "system_s": sum(used.ru_stime for used in usage),
            "peak_mib": max(used.ru_maxrss for used in usage) / 1024,
        }  # fmt: skip
        found.append(cell)
        say(bench_report.growth_line(cell))
        for folder in folders:
            shutil.rmtree(folder)
        delete_topic(topic)
    return found


def soak(args):
    """Memory over a long time, at a rate that the machine carries easily."""
    small = ("retention.bytes=100000000", "segment.bytes=50000000", "retention.ms=600000")
    for topic in ("soak", "soak-dlq"):
        create_topic(topic, 3, *small)
    folder = fresh(args.disk / "soak")
    command = tracker_command(
        "soak", "soak", folder, "--events-max-bytes", "256MiB", "--events-compress", "zstd", *args.flag
    )
    found = bench_soak.soak(args.soak, args.soak_rate, BIN / "producer", command, folder)
    verified, _ = run(BIN / "audit", "verify", "--json", *segments(folder))
    lines = sum(json.loads(line)["lines"] for line in verified.splitlines())
    shutil.rmtree(folder)
    say(bench_soak.text(found, lines))
    return found


def failing(args):
    """Every order breaks a rule: each becomes a dead letter, acknowledged before its line is written."""
    say(f"filling a topic with {args.records} broken orders of {args.size} bytes on 3 partitions")
    create_topic("broken", 3)
    bench("--topic", "broken", "fill", "--broken", "--records", args.records, "--size", args.size)
    rounds = []
    for number in range(args.rounds):
        folder = warmed(args.memory / "failing", args.records, args.size)
        letters = f"broken-dlq-{number}"
        one = tracker("broken", f"failing-{number}", folder, *args.flag, letters=letters)
        found = outcomes(folder, b'"outcome":"dead_lettered"')
        if found != args.records:
            sys.exit(f"bench: {found} dead letters for {args.records} orders")
        shutil.rmtree(folder)
        delete_topic(letters)
        rounds.append(one)
        say(bench_report.failing_line(args.records, one))
    return rounds


def machine():
    """What it was measured on."""
    def told(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip()

    cpu = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return {
        "cpu": cpu[0].split(":", 1)[1].strip() if cpu else "unknown",
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
        "kernel": told("uname", "-sr"),
        "rustc": told("rustc", "--version"),
        "version": told("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "load_before": os.getloadavg()[0],
        "date": datetime.date.today().isoformat(),
    }


def save(result, path):
    path.write_text(json.dumps(result, indent=1))


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="orders of the full topic")
    parser.add_argument("--size", type=int, default=1250, help="bytes of an order")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run")
    parser.add_argument("--seconds", type=int, default=20, help="how long each latency is measured")
    parser.add_argument("--spring", action="store_true", help="Spring Kafka too, with the same work; needs Java 17 and Maven")
    parser.add_argument("--growth", action="store_true", help="measure partitions, trackers and sizes instead")
    parser.add_argument("--failing", action="store_true", help="measure orders that all become dead letters instead")
    parser.add_argument("--growth-bytes", type=int, default=500_000_000, help="payload of each of those topics, at most")
    parser.add_argument("--soak", type=int, metavar="MINUTES", help="watch the tracker's memory for so long instead")
    parser.add_argument("--soak-rate", type=int, default=2000, help="orders per second of the soak")
    parser.add_argument("--flag", action="append", default=[], help="one more flag for the tracker, as --flag=--ordering=key")
    for name in ("memory", "disk", "out"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.spring:
        args.spring = bench_spring.build(ROOT)
    result = {"machine": machine(), "records": args.records, "size": args.size}
    if args.soak:
        result["soak"] = soak(args)
        save(result, args.out / "soak.json")
        return
    if args.growth:
        result["growth"] = growth(args)
    elif args.failing:
        result["failing"] = failing(args)
    else:
        result["full"] = full_rate(args)
        save(result, args.out / "results.json")
        result["latency"] = delays(args, result["full"])
    save(result, args.out / f"{bench_report.file_of(result)}.json")
    text = bench_report.write(result, args.out)
    print(text)
    say(f"written to {args.out}")


if __name__ == "__main__":
    main()
