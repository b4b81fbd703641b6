"""Spring Kafka beside the tracker: builds benches/spring, says how it is run, and checks what it wrote."""

import re
import subprocess
import sys

# The heap is fixed, so that none of the time goes into growing it. A listener that fails says so itself.
JVM = ("-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
# So many lines are compared.
SAMPLED = 1000
PLACE = re.compile(rb'"kafka_partition":(\d+),"kafka_offset":(\d+),')
# What two programs may write differently: the time, the group's name, and the hash, which only one of them has.
OWN = re.compile(rb'^\{"timestamp":"[^"]{24}"|,"consumer_group":"[^"]*"|,"hash":"[0-9a-f]{64}"(?=\}$)')


def build(root):
    """The class path of the program; nothing is written beside its sources."""
    out = root / "target/bench/spring"
    command = ["mvn", "-q", "-B", "-f", root / "benches/spring", "package", "dependency:copy-dependencies"]
    done = subprocess.run([*command, f"-Dout={out}", f"-DoutputDirectory={out}/libs"])
    if done.returncode != 0:
        sys.exit("bench: Maven could not build benches/spring")
    return f"{out}/classes:{out}/libs/*"


def command(class_path, servers, topic, group, events):
    return ["java", *JVM, "-cp", class_path, "SpringBench", servers, topic, group, events]


def place(line):
    """Partition and offset of a line's record."""
    found = PLACE.search(line, 0, 300)
    return (int(found[1]), int(found[2])) if found else None


def sample(path):
    """The first lines of a file by their record, without what is the program's own."""
    with open(path, "rb") as file:
        return {place(line): OWN.sub(b"", line.rstrip(b"\n")) for line, _ in zip(file, range(SAMPLED))}


def check(path, records, wanted):
    """Ends it all unless each record has one line, and those of the sample are the other program's."""
    # A byte for each record, and no more: what this process holds shows in the peak of those that it starts.
    seen, count, same = {}, 0, 0
    with open(path, "rb") as file:
        for count, line in enumerate(file, 1):
            partition, offset = place(line) or sys.exit(f"bench: line {count} of Spring names no record")
            seen.setdefault(partition, bytearray(records))[offset] = 1
            if (partition, offset) in wanted:
                same += OWN.sub(b"", line.rstrip(b"\n")) == wanted[partition, offset]
    found = sum(map(sum, seen.values()))
    if not count == found == records:
        sys.exit(f"bench: Spring wrote {count} lines of {found} records, not {records}")
    if same != len(wanted):
        sys.exit(f"bench: {len(wanted) - same} of {len(wanted)} lines of Spring are not those of the plain loop")
