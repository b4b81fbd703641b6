"""The long run of scripts/bench.sh: whether a tracker's memory stays where it is."""

import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

EVERY_S = 5
# The first part is not judged: buffers, pools and the allocator's own memory fill up.
WARM_UP = 0.2
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mib(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def slope(samples):
    """MiB an hour, as a straight line through the samples has it."""
    hours, mib = zip(*((at / 3600, mib) for at, mib in samples))
    return statistics.linear_regression(hours, mib).slope


def soak(minutes, rate, producer, tracker, folder):
    """Feeds a tracker for so long, with orders that fail among them, and looks at its memory all the while."""
    making = subprocess.Popen(
        [producer, "--topic", "soak", "--rate", str(rate), "--invalid-ratio", "0.02", "--malformed-ratio", "0.02"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    working = subprocess.Popen([str(part) for part in tracker], stdout=subprocess.DEVNULL)
    samples, begun = [], time.monotonic()
    try:
        while (at := time.monotonic() - begun) < minutes * 60:
            time.sleep(EVERY_S)
            if making.poll() is not None or working.poll() is not None:
                sys.exit("bench: a program of the soak has ended")
            samples.append((at, resident_mib(working.pid)))
            if len(samples) % (60 // EVERY_S) == 0:
                print(f"bench: minute {at / 60:.0f}: {samples[-1][1]:.1f} MiB", flush=True)
        cpu = cpu_s(working.pid)
    finally:
        for process in (making, working):
            process.send_signal(signal.SIGTERM)
        making.wait(60)
        ended = working.wait(60)
    if ended != 0:
        sys.exit("bench: the tracker did not end well")
    judged = [sample for sample in samples if sample[0] >= minutes * 60 * WARM_UP]
    found = sorted(mib for _, mib in judged)
    return {
        "minutes": minutes, "rate": rate, "cpu_s": cpu, "samples": [(round(at), round(mib, 2)) for at, mib in samples],
        "least_mib": found[0], "median_mib": statistics.median(found), "most_mib": found[-1],
        "slope_mib_per_hour": slope(judged), "folder_mib": sum(f.stat().st_size for f in folder.iterdir()) / 2**20,
    }  # fmt: skip


def text(found, lines):
    return (
        f"{lines:,} lines of a sound audit log in {found['minutes']} minutes at {found['rate']}/s, 4 % of them dead letters; "
        f"{found['cpu_s']:.0f} s of CPU time. Memory behind the first {WARM_UP:.0%} of the time: "
        f"{found['least_mib']:.1f} to {found['most_mib']:.1f} MiB, median {found['median_mib']:.1f}, "
        f"slope {found['slope_mib_per_hour']:+.2f} MiB an hour. The audit log on disk: {found['folder_mib']:,.0f} MiB."
    )
