#!/usr/bin/env python3
"""Measures what metrics cost a tracker at full speed: pairs of runs over the same orders, one without --metrics-addr and
one with it and scraped each second, in turn first and second, so that a machine that slows down slows both.

    cargo build --release --features producer,tracker
    scripts/metrics-cost.py [--pairs 7] [--count 300000] [--bin target/release] [--folder DIR]

Kafka is that of KAFKA_BOOTSTRAP_SERVERS (localhost:9092). Each run has a group and an audit log of its own; the log's first
and last line say how long the work took, and the system says how much user time the process took. Prints each pair, then
the medians, and then what one page costs, measured on a tracker that has nothing else to do (Linux): the figure to trust
where the machine is not calm. --limit PERCENT makes it end with 1 where the median loss of the rate is higher.

Exit codes: 0 measured, 1 a run failed or the limit is passed, 2 usage.
"""

import argparse
import datetime
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request


PAGES = 2000  # that are asked for to measure one


def say(text):
    print(text, flush=True)


def fail(text):
    print(f"metrics-cost: {text}", file=sys.stderr)
    sys.exit(1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        return page.read()


def used_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Scraper(threading.Thread):
    """Asks for the page each second, as Prometheus would, until it is told to stop."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.ended = threading.Event()
        self.pages = 0

    def run(self):
        while not self.ended.wait(1.0):
            try:
                self.pages += b"tracker_records_total" in fetch(self.port)
            except OSError:
                pass  # not there yet, or gone already


def span_seconds(events):
    """From the first outcome in an audit log to the last one, and how many there are."""
    first = last = None
    count = 0
    with open(events, "rb") as file:
        for line in file:
            if b'"event_type":"message.received"' in line:
                count += 1
                first = first or line
                last = line
    at = [datetime.datetime.fromisoformat(json.loads(line)["timestamp"].replace("Z", "+00:00")) for line in (first, last)]
    return (at[1] - at[0]).total_seconds(), count


class Runs:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
        self.topic = f"metrics-cost-{os.getpid()}-{int(time.time())}"
        self.number = 0

    def program(self, role):
        return os.path.join(self.options.bin, role)

    def fill(self):
        flags = ["--rate", "max", "--seed", "1", "--count", str(self.options.count), "--quiet"]
        ended = subprocess.run([self.program("producer"), "-b", self.servers, "--topic", self.topic, *flags], check=False)
        if ended.returncode != 0:
            fail(f"the producer ended with {ended.returncode}")

    def page(self):
        """Microseconds of user and system time for one page, its connection included; and its size."""
        folder = os.path.join(self.folder, "page")
        os.mkdir(folder)
        port = free_port()
        flags = ["-b", self.servers, "--topic", self.topic, "--dlq-topic", f"{self.topic}-dlq",
                 "--group", f"{self.topic}-page", "--events-file", os.path.join(folder, "tracker.events"),
                 "--log-file", os.path.join(folder, "tracker.log"), "--metrics-addr", f"127.0.0.1:{port}"]
        tracker = subprocess.Popen([self.program("tracker"), *flags], stderr=subprocess.DEVNULL)
        try:
            self.wait_until_idle(port)
            begun, idle = time.monotonic(), used_seconds(tracker.pid)
            time.sleep(5)
            idle = (used_seconds(tracker.pid) - idle) / (time.monotonic() - begun)
            begun, used = time.monotonic(), used_seconds(tracker.pid)
            for _ in range(PAGES):
                size = len(fetch(port))
            used = used_seconds(tracker.pid) - used - idle * (time.monotonic() - begun)
        finally:
            tracker.terminate()
            tracker.wait()
        return used / PAGES * 1e6, size

    def wait_until_idle(self, port):
        deadline = time.monotonic() + 120
        done = f'tracker_records_total{{outcome="processed"}} {self.options.count}\n'.encode()
        while time.monotonic() < deadline:
            try:
                if done in fetch(port):
                    return
            except OSError:
                pass  # not there yet
            time.sleep(0.5)
        fail("the tracker has not come to the end of the topic")

    def track(self, with_metrics):
        """One run: records a second, and microseconds of user time for each."""
        self.number += 1
        folder = os.path.join(self.folder, str(self.number))
        os.mkdir(folder)
        events = os.path.join(folder, "tracker.events")
        flags = ["-b", self.servers, "--topic", self.topic, "--dlq-topic", f"{self.topic}-dlq",
                 "--group", f"{self.topic}-{self.number}", "--events-file", events,
                 "--events-max-bytes", "1TiB", "--log-file", os.path.join(folder, "tracker.log"), "--exit-at-end"]
        port, scraper = free_port(), None
        if with_metrics:
            flags += ["--metrics-addr", f"127.0.0.1:{port}"]
        with open(os.path.join(folder, "stderr"), "wb") as log:
            tracker = subprocess.Popen([self.program("tracker"), *flags], stderr=log)
        if with_metrics:
            scraper = Scraper(port)
            scraper.start()
        _, status, used = os.wait4(tracker.pid, 0)
        if scraper:
            scraper.ended.set()
            scraper.join()
        if status != 0:
            with open(os.path.join(folder, "stderr"), encoding="utf-8", errors="replace") as log:
                fail(f"a tracker ended with {os.waitstatus_to_exitcode(status)}: {log.read()[-2000:]}")
        seconds, count = span_seconds(events)
        shutil.rmtree(folder)
        if count != self.options.count:
            fail(f"{count} outcomes for {self.options.count} orders")
        return count / seconds, used.ru_utime / count * 1e6, scraper.pages if scraper else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--count", type=int, default=300_000, help="orders")
    parser.add_argument("--bin", default="target/release", help="where the programs are")
    parser.add_argument("--folder", help="where the audit logs go for a while (about 3.3 kB for each order)")
    parser.add_argument("--limit", type=float, help="the most that the rate may lose, in percent")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        runs = Runs(options, folder)
        say(f"{options.count} orders into {runs.topic}")
        runs.fill()
        runs.track(False)  # warms the broker's page cache; not counted
        rates, times = [], []
        for pair in range(options.pairs):
            measured = {}
            for with_metrics in (False, True) if pair % 2 == 0 else (True, False):
                measured[with_metrics] = runs.track(with_metrics)
            (rate_off, user_off, _), (rate_on, user_on, pages) = measured[False], measured[True]
            rates.append(rate_on / rate_off)
            times.append((user_off, user_on))
            load = os.getloadavg()[0]
            say(f"pair {pair + 1}: without {rate_off:8.0f}/s {user_off:5.2f} us, with {rate_on:8.0f}/s {user_on:5.2f} us "
                f"({pages} pages), rate x {rate_on / rate_off:.3f}, load {load:.1f}")
        loss = (1 - statistics.median(rates)) * 100
        off, on = (statistics.median(pair[at] for pair in times) for at in (0, 1))
        ratio = statistics.median(with_it / without for without, with_it in times)
        say(f"median of {options.pairs} pairs: the rate loses {loss:.1f} % (pairs from {(1 - max(rates)) * 100:.1f} to "
            f"{(1 - min(rates)) * 100:.1f} %), user time {off:.2f} -> {on:.2f} us a record (pairs: x {ratio:.3f})")
        microseconds, size = runs.page()
        say(f"one page of {size} bytes takes {microseconds:.0f} us of user and system time: {microseconds / 1e4:.3f} % of a "
            "processor at one a second")
        if options.limit is not None and loss > options.limit:
            fail(f"that is more than {options.limit} %")


if __name__ == "__main__":
    main()
