#!/usr/bin/env python3
"""The web page in a real browser: headless Chromium against a monitor that watches a tracker on a real Kafka.

web_page.py --bin FOLDER --bootstrap HOST:PORT --screenshots FOLDER

Orders, some of them wrong, one hostile, and a delivery target that refuses them for a while; then the page is looked at as
a person would: figures, charts, search, one dead letter, a replay to its end, by keyboard, on a phone, by day and by night."""

import argparse
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

from webdriver import END, ENTER, LEFT, TAB, Browser

HOSTILE = "<script>window.hacked=1</script><img src=x onerror=window.hacked=2>\u001b[2J\u202egnp"
# What is read first must be readable: the contrast of a text with what is behind it, as WCAG counts it.
CONTRAST = """(() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(c => c / 255)
      .map(c => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("p, h1, h2, a, li, td, th, span, button, label, dd, dt, pre")]
    .filter(e => e.checkVisibility() && !e.disabled && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .map(e => {
      const [a, b] = [light(getComputedStyle(e).color), light(back(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + "." + e.className + ": " + e.textContent.slice(0, 40)];
    })
    .filter(([ratio]) => ratio < 4.5)
})()"""


class Target(http.server.BaseHTTPRequestHandler):
    """A delivery target; it refuses a fourth of the orders, in all of their states, until it is repaired."""

    protocol_version = "HTTP/1.1"
    broken = True

    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        refused = Target.broken and zlib.crc32(order["order_id"].encode()) % 4 == 0
        self.send_response(422 if refused else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def until(what, found, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain: {what}")


class World:
    """A tracker with its files and topics, a producer, a delivery target, and the monitor's page."""

    def __init__(self, programs, bootstrap):
        self.programs, self.bootstrap = programs, bootstrap
        self.folder = tempfile.TemporaryDirectory(prefix="web-page-")
        self.topic = f"web-page-{os.getpid()}-{int(time.time())}"
        self.dlq = f"{self.topic}-dlq"
        self.running = []
        self.target = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
        threading.Thread(target=self.target.serve_forever, daemon=True).start()
        # A port that is free now: the tracker tells the one of ":0" to its log alone.
        with http.server.HTTPServer(("127.0.0.1", 0), Target) as free:
            self.metrics = f"127.0.0.1:{free.server_port}"

    def path(self, name):
        return Path(self.folder.name, name)

    def command(self, role, *flags):
        return [str(self.programs / role), *flags]

    def start(self, name, command):
        with open(self.path(f"{name}.err"), "wb") as err:
            process = subprocess.Popen(command, cwd=self.folder.name, stdout=subprocess.DEVNULL, stderr=err)
        self.running.append((name, process))
        return process

    def produce(self, *flags):
        subprocess.run(self.command("producer", "-b", self.bootstrap, "--topic", self.topic, "--rate", "max", *flags),
                       cwd=self.folder.name, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def track(self):
        self.start("tracker", self.command(
            "tracker", "-b", self.bootstrap, "--topic", self.topic, "--dlq-topic", self.dlq, "--group", f"{self.topic}-group",
            "--deliver-to", f"http://127.0.0.1:{self.target.server_port}/", "--metrics-addr", self.metrics,
            "--metrics-interval", "1s", "--commit-interval", "200ms", "--max-retries", "0"))

    def outcomes(self):
        try:
            return self.path("tracker.events").read_bytes().count(b'"event_type":"message.received"')
        except FileNotFoundError:
            return 0

    def serve(self):
        self.start("monitor", self.command(
            "monitor", "--web", "127.0.0.1:0", "--allow-replay", "-b", self.bootstrap, "--dlq-topic", self.dlq,
            "--metrics-url", f"http://{self.metrics}/metrics"))
        address = r"http://[\d.:]+/"
        return until("the page's address", lambda: re.search(address, self.path("monitor.err").read_text()))[0]

    def figures(self):
        printed = subprocess.run(self.command("monitor", "--once", "--json"), cwd=self.folder.name, check=True, capture_output=True)
        return json.loads(printed.stdout)

    def close(self):
        for name, process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=30)
            assert code == 0, f"{name} ended with {code}: {self.path(name + '.err').read_text()[-2000:]}"
        self.target.shutdown()

    def kill(self):
        for name, process in self.running:
            if process.poll() is None:
                process.kill()
                process.wait()
            print(f"--- {name}\n{self.path(name + '.err').read_text()[-2000:]}", file=sys.stderr)


def figures_and_charts(browser, world):
    browser.wait("the tracker is up", "document.querySelector('#life').textContent.includes('up')")
    tiles = "Object.fromEntries([...document.querySelectorAll('.tile')].map(t => [t.children[0].textContent, t.children[1].textContent]))"
    figures = world.figures()
    expected = f"{figures['outcomes']['dead_lettered']:,}"
    browser.wait("the dead letters of --once --json", f"{tiles}['Dead letters'] === arguments[0]", expected)
    browser.wait("the lag of the metrics", f"{tiles}['Lag'] === '0'")
    assert browser.run(f"{tiles}['Processed']") == f"{figures['outcomes']['success_percent']:.1f} %"
    for name, drawn in [("chart-rate", "rect.bar"), ("chart-errors", "rect.bar"), ("chart-latency", "path.line, circle.dot")]:
        browser.wait(f"{name} is drawn", "document.querySelectorAll(arguments[0]).length > 0", f"#{name} :is({drawn})")
        assert "from " in browser.run("document.getElementById(arguments[0]).getAttribute('aria-label')", name)
    assert browser.run("document.querySelectorAll('#partitions tbody tr').length") == 3
    assert browser.run("document.querySelectorAll('#causes li').length") >= 2
    # Live: one more order, without anybody's reload.
    world.produce("--count", "1")
    total = f"of {figures['outcomes']['total'] + 1:,}"
    browser.wait("the new order", "[...document.querySelectorAll('.tile .more')].some(m => m.textContent.includes(arguments[0]))", total)


def dead_letters(browser):
    browser.click("nav a[href='#letters']")
    browser.wait("causes", "document.querySelectorAll('#groups button').length > 1")
    all_rows = browser.wait("rows", "document.querySelectorAll('#rows a').length")
    browser.type("#search-text", "HACKED=1")
    browser.click("#search button")
    browser.wait("what was searched for", "document.querySelectorAll('#rows a').length === 1 && /1 dead letters/.test(document.querySelector('#letters-told').textContent)")
    assert all_rows > 1
    browser.click("#rows a")
    browser.wait("the dead letter", "document.querySelector('#letter pre')")
    shown = browser.text("#letter")
    for part in ["<script>window.hacked=1</script>", "Payload", "History", "Headers of the dead letter", "The validator refuses it now"]:
        assert part in shown, f"{part} is not in {shown[:2000]}"
    raw = [c for c in browser.text("body") if c in "\u202e\u001b\u009b"]
    assert not raw, f"raw characters: {raw}"
    assert browser.run("document.querySelectorAll('#letter script, #letter img, #rows img, main script').length") == 0
    assert browser.run("window.hacked ?? null") is None
    assert browser.run("document.activeElement.id") == "letter", "the focus follows"


def replay(browser):
    Target.broken = False
    browser.run("document.querySelector('#search-text').value = ''")
    browser.click("#search button")
    browser.wait("the search's end", "/^[0-9,]+ dead letters in .* match/.test(document.querySelector('#letters-told').textContent)")
    group = "[...document.querySelectorAll('#groups button')].find(b => b.textContent.includes('the delivery target answered'))"
    browser.wait("the target's cause", group)
    count = int(browser.run(f"{group}.querySelector('.count').textContent"))
    browser.run(f"{group}.click()")
    browser.wait("the cause is chosen", "document.querySelector('#rows-plan button')?.textContent === 'Plan a replay of this cause'")
    browser.click("#rows-plan button")
    question = browser.wait("the plan's question", "document.querySelector('#asked')?.textContent")
    assert question.startswith(f"Replay {count} dead letters: {count} to web-page-"), question
    browser.type("#answer", "no")
    browser.click("#plan button.main")
    browser.wait("it is not confirmed", "document.querySelector('#plans-told').textContent.startsWith('not confirmed')")
    assert len(browser.complaints()) == 1, "the browser tells the refusal once"
    browser.run("document.querySelector('#answer').value = ''")
    browser.type("#answer", "yes")
    browser.keys(ENTER)
    browser.wait("the apply's end", "document.querySelector('#job').textContent.includes(arguments[0])", f"{count} sent", seconds=60)
    browser.wait("the outcomes", "document.querySelector('#became').textContent.includes(arguments[0])", f"processed {count}", seconds=60)


def keyboard(browser, url):
    browser.open("about:blank")
    browser.open(url)
    browser.wait("the tiles", "document.querySelectorAll('.tile').length")
    focused = "document.activeElement.id || document.activeElement.getAttribute('href')"
    browser.keys(TAB)
    assert browser.run(focused) == "skip"
    box = browser.run("(e => [e.getBoundingClientRect().top, getComputedStyle(e).outlineStyle])(document.activeElement)")
    assert box[0] >= 0 and box[1] != "none", f"the skip link cannot be seen: {box}"
    browser.keys(ENTER)
    assert browser.run(focused) == "main"
    browser.open("about:blank")
    browser.open(url)
    browser.wait("the tiles", "document.querySelectorAll('.tile').length")
    seen = []
    for _ in range(8):
        browser.keys(TAB)
        seen.append(browser.run(focused))
        outline = browser.run("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"{seen[-1]} has no visible focus"
    assert seen[:4] == ["skip", "#now", "#letters", "#plans"] and {"chart-rate", "chart-errors", "chart-latency"} <= set(seen), seen
    browser.run("document.querySelector('#chart-rate').focus()")
    before = browser.text("[for=chart-rate]")
    browser.keys(END + LEFT)
    browser.wait("the arrow keys read a value", "document.querySelector('[for=chart-rate]').textContent !== arguments[0]", before)
    browser.run("document.querySelector('nav a[href=\"#letters\"]').focus()")
    browser.keys(ENTER)
    browser.wait("the dead letters by keyboard", "document.querySelector('#rows a')")
    unlabelled = "[...document.querySelectorAll('input, select')].filter(e => !e.labels.length && !e.ariaLabel).map(e => e.id)"
    assert browser.run(unlabelled) == []


def looks(browser, url, folder):
    browser.open(url + "#letters")
    letter = browser.wait("rows", "document.querySelector('#rows a')?.getAttribute('href')")
    views = [("now", "#now", ".tile"), ("letters", letter, "#letter pre"), ("replays", browser.plan, "#became .pill, #plan .facts")]
    for scheme in ("light", "dark"):
        browser.scheme(scheme)
        for width, height in ((1280, 900), (360, 780)):
            browser.size(width, height)
            for name, place, drawn in views:
                browser.open(url + place)
                browser.wait(f"{name} at {width}", "document.querySelector(arguments[0])?.checkVisibility()", drawn)
                wide = browser.run("document.documentElement.scrollWidth")
                assert wide <= width, f"{name} is {wide} px wide on {width} px"
                # Half a transition has colours of its own.
                browser.wait("everything at rest", "!document.getAnimations().length")
                poor = browser.run(CONTRAST)
                assert not poor, f"{name}, {scheme}: too little contrast: {poor[:5]}"
                if name != "letters":
                    browser.run("window.scrollTo(0, 0)")
                browser.screenshot(folder / f"{name}-{scheme}-{width}.png")
        back = browser.run("getComputedStyle(document.body).backgroundColor")
        bright = sum(int(part) for part in re.findall(r"\d+", back)[:3]) / 3
        assert (bright > 200) if scheme == "light" else (bright < 60), f"{scheme}: {back}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for flag in ("--bin", "--bootstrap", "--screenshots"):
        arguments.add_argument(flag, required=True)
    given = arguments.parse_args()
    folder = Path(given.screenshots)
    folder.mkdir(parents=True, exist_ok=True)
    world, browser = World(Path(given.bin).resolve(), given.bootstrap), None
    try:
        order = {"order_id": HOSTILE, "sequence": 0, "status": HOSTILE}
        world.path("hostile.jsonl").write_text(json.dumps(order, ensure_ascii=True) + "\n")
        world.produce("--count", "150", "--seed", "6", "--invalid-ratio", "0.04", "--malformed-ratio", "0.02")
        world.produce("--input", "hostile.jsonl")
        world.track()
        browser = Browser()
        until("the outcomes", lambda: world.outcomes() >= 151)
        url = world.serve()
        browser.open(url)
        figures_and_charts(browser, world)
        dead_letters(browser)
        complaints = browser.complaints()
        assert not complaints, complaints
        replay(browser)
        browser.plan = browser.run("location.hash")
        keyboard(browser, url)
        looks(browser, url, folder)
        complaints = browser.complaints()
        assert not complaints, complaints
        world.close()
    except BaseException:
        if browser:
            browser.screenshot(folder / "failed.png")
        world.kill()
        raise
    finally:
        if browser:
            browser.close()
    print(f"the web page: figures, charts, search, dead letter, replay, keyboard, 360 px, light and dark; {len(list(folder.glob('*.png')))} screenshots in {folder}")


if __name__ == "__main__":
    main()
