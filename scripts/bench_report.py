"""Tables and plots of what scripts/bench.py has measured."""

import html
import statistics

# What is measured side by side, and what it is called.
PROGRAMS = {
    "consume": "bare librdkafka: polls, counts",
    "loop": "plain loop, one thread, in memory",
    "spring": "Spring Kafka, three threads, in memory",
    "tracker": "tracker, audit log in memory",
    "tracker_disk": "tracker, audit log on disk",
}

middle = statistics.median


def measured(one):
    """The programs of a round, with their titles: not all of them are asked for each time."""
    return {name: title for name, title in PROGRAMS.items() if name in one}


def programs(result):
    return measured(result["full"]["rounds"][0])


def values(result, name, key):
    return [one[name][key] for one in result["full"]["rounds"]]


def rates(result, name):
    return [result["records"] / seconds for seconds in values(result, name, "seconds")]


def micros(result, name, key):
    return middle(values(result, name, key)) / result["records"] * 1e6


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def full_table(result):
    rows = []
    for name, title in programs(result).items():
        each = rates(result, name)
        rows.append([
            title,
            f"{middle(each):,.0f}",
            f"{min(each):,.0f}–{max(each):,.0f}",
            f"{micros(result, name, 'user_s'):.2f}",
            f"{micros(result, name, 'system_s'):.2f}",
            f"{max(values(result, name, 'peak_mib')):.0f}",
        ])
    head = ["", "orders/s (median)", "of all rounds", "user µs each", "system µs each", "peak MiB"]
    return table(head, rows)


def ratios(result):
    """Each round's own: what else the machine did was the same for both."""
    def ratio(one, other):
        each = [round_[other]["seconds"] / round_[one]["seconds"] for round_ in result["full"]["rounds"]]
        return f"{middle(each):.2f} ({min(each):.2f}–{max(each):.2f})"

    rows = [
        ["tracker ÷ plain loop", ratio("tracker", "loop")],
        ["tracker ÷ bare consumption", ratio("tracker", "consume")],
        ["tracker on disk ÷ in memory", ratio("tracker_disk", "tracker")],
    ]
    if "spring" in programs(result):
        rows.append(["tracker ÷ Spring Kafka", ratio("tracker", "spring")])
        each = [
            round_["spring"]["second_half_seconds"] * 2 / round_["tracker"]["seconds"] for round_ in result["full"]["rounds"]
        ]
        rows.append(["tracker ÷ Spring Kafka's second half", f"{middle(each):.2f} ({min(each):.2f}–{max(each):.2f})"])
    return table(["ratio of rates in one round", "median (least–most)"], rows)


def disk_lines(result):
    rounds = result["full"]["rounds"]
    disk = middle(one["disk_bytes_per_s"] for one in rounds)
    wrote = middle(one["audit_bytes"] / one["tracker_disk"]["seconds"] for one in rounds)
    lines = [
        f"One audit line is {rounds[0]['audit_bytes'] / result['records']:,.0f} bytes. On disk the tracker wrote "
        f"{wrote / 1e6:,.0f} MB/s; the disk takes {disk / 1e6:,.0f} MB/s in pieces of 2 MiB, each synced."
    ]
    checked = result["full"]["verify"]
    if checked:
        lines.append(
            f"`audit verify` of {checked['bytes'] / 1e9:.2f} GB in memory: "
            f"{checked['bytes'] / checked['wall_s'] / 1e9:.2f} GB/s, peak {checked['peak_mib']:.0f} MiB."
        )
    return "\n\n".join(lines) + "\n"


def latency_table(result):
    names = {"memory": "in memory", "disk": "on disk"}
    rows = [
        [f"{one['rate']:,}/s", names[one["name"].split("-")[0]]] + [f"{one[key]:.1f}" for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms")]
        for one in result["latency"]
    ]
    return table(["rate", "audit log", "p50 ms", "p99 ms", "p99.9 ms", "most ms"], rows)


def growth_line(cell):
    per_record = 1e6 / cell["records"]
    return (
        f"{cell['partitions']} partitions, {cell['trackers']} tracker(s), {cell['size']} bytes: "
        f"{cell['records'] / cell['seconds']:,.0f}/s, {cell['records'] * cell['size'] / cell['seconds'] / 1e6:,.0f} MB/s, "
        f"{cell['user_s'] * per_record:.2f} + {cell['system_s'] * per_record:.2f} µs, {cell['peak_mib']:.0f} MiB"
    )


def growth_table(result):
    rows = []
    for cell in result["growth"]:
        per_record = 1e6 / cell["records"]
        rows.append([
            cell["partitions"],
            cell["trackers"],
            f"{cell['size']:,}",
            f"{cell['records']:,}",
            f"{cell['records'] / cell['seconds']:,.0f}",
            f"{cell['records'] * cell['size'] / cell['seconds'] / 1e6:,.0f}",
            f"{cell['user_s'] * per_record:.2f}",
            f"{cell['system_s'] * per_record:.2f}",
            f"{cell['peak_mib']:.0f}",
        ])
    head = ["partitions", "trackers", "order bytes", "orders", "orders/s", "payload MB/s", "user µs each", "system µs each"]
    return table([*head, "peak MiB (each)"], rows)


def machine_line(result):
    found = result["machine"]
    return (
        f"{found['cpus']} CPUs ({found['cpu']}), shared with the broker; {found['memory_gib']} GiB; {found['kernel']}; "
        f"{found['rustc']}; commit {found['version']}; {found['date']}; load before it {found['load_before']:.1f}.\n"
    )


WIDTH, LEFT, BAR, GAP = 760, 290, 22, 12
COLOURS = ("#2f6f9f", "#d08c3c")


def bars(title, unit, rows):
    """A plot of horizontal bars. Each row: its name, the parts of its bar, and marks upon it."""
    longest = max([sum(parts) for _, parts, _ in rows] + [mark for _, _, marks in rows for mark in marks]) or 1
    scale = (WIDTH - LEFT - 90) / longest
    height = 44 + len(rows) * (BAR + GAP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="22" font-weight="bold">{html.escape(title)}</text>',
    ]
    for number, (name, parts, marks) in enumerate(rows):
        top, x = 36 + number * (BAR + GAP), LEFT
        out.append(f'<text x="{LEFT - 8}" y="{top + 16}" text-anchor="end">{html.escape(name)}</text>')
        for part, colour in zip(parts, COLOURS):
            out.append(f'<rect x="{x:.1f}" y="{top}" width="{part * scale:.1f}" height="{BAR}" fill="{colour}"/>')
            x += part * scale
        for mark in marks:
            at = LEFT + mark * scale
            out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top - 3}" y2="{top + BAR + 3}" stroke="#222"/>')
        shown = max([sum(parts), *marks])
        text = f"{sum(parts):,.0f}" if longest > 100 else f"{sum(parts):.2f}"
        out.append(f'<text x="{LEFT + shown * scale + 6:.1f}" y="{top + 16}">{text} {unit}</text>')
    return "\n".join([*out, "</svg>\n"])


def plots(result, out):
    if "full" in result:
        rows = [(title, [middle(rates(result, name))], rates(result, name)) for name, title in programs(result).items()]
        title = "Orders per second: the median, and each round as a line"
        (out / "rates.svg").write_text(bars(title, "/s", rows))
        rows = [
            (title, [micros(result, name, "user_s"), micros(result, name, "system_s")], [])
            for name, title in programs(result).items()
        ]
        (out / "cpu.svg").write_text(bars("CPU time of an order: user (blue) and system (orange)", "µs", rows))
        rows = [
            (f"{one['rate']:,}/s, {one['name'].split('-')[0]}", [one["p50_ms"]], [one["p99_ms"]])
            for one in result["latency"]
        ]
        title = "From acknowledgement to line on disk: p50, and p99 as a line"
        (out / "latency.svg").write_text(bars(title, "ms", rows))
    if "growth" in result:
        rows = [
            (
                f"{cell['partitions']} partitions, {cell['trackers']} tracker(s), {cell['size']:,} B",
                [cell["records"] * cell["size"] / cell["seconds"] / 1e6],
                [],
            )
            for cell in result["growth"]
        ]
        (out / "growth.svg").write_text(bars("Payload through the tracker", "MB/s", rows))


def failing_line(records, one):
    user, system = (one[key] / records * 1e6 for key in ("user_s", "system_s"))
    return (
        f"{records / one['seconds']:,.0f} dead letters/s, user {user:.2f} and system {system:.2f} µs each, "
        f"peak {one['peak_mib']:.0f} MiB"
    )


def failing_table(result):
    return "".join(f"- {failing_line(result['records'], one)}\n" for one in result["failing"])


def file_of(result):
    """What its files are called."""
    return next((name for name in ("growth", "failing") if name in result), "results")


def write(result, out):
    """Writes the plots and the tables; gives the tables."""
    text = machine_line(result) + "\n"
    if "full" in result:
        text += "\n".join([full_table(result), ratios(result), disk_lines(result), latency_table(result)])
    if "growth" in result:
        text += growth_table(result)
    if "failing" in result:
        text += failing_table(result)
    plots(result, out)
    (out / f"{file_of(result)}.md").write_text(text)
    return text
