// The page itself: which view is seen, and the figures of now as they come.

import { $, age, ask, chart, clock, el, grouped, moment, percent, rate, redraw, short, visible, write } from "./parts.js";
import { begin, next, showLetters, showPlans } from "./letters.js";

const LEVELS = { up: "good", stopping: "warning", stopped: "warning", unknown: "warning", silent: "critical", failed: "critical" };
const SIGNS = { good: "✓ ", warning: "▲ ", critical: "✖ " };

const charts = [
  chart({ id: "chart-rate", title: "Outcomes per second", kind: "plain", of: slot => slot.per_second, say: rate }),
  chart({
    id: "chart-errors", title: "Dead letters, % of outcomes", kind: "bad", of: slot => slot.error_percent,
    say: percent, least: 1,
    limits: [{ value: 5, level: "warning" }, { value: 20, level: "critical" }],
  }),
  chart({ id: "chart-latency", title: "Latency, p95", kind: "line", of: slot => slot.p95_ms, say: age, tick: age }),
];
$("charts").append(...charts.map(one => one.figure));

// What is critical, what is a warning, and what to do about it.
function hand(figures) {
  const { tracker, outcomes } = figures;
  const found = [];
  const add = (level, what, todo) => found.push({ level, what, todo });
  if (tracker.state === "failed") add("critical", `The tracker ended by an error: ${short(tracker.error ?? "unknown", 300)}`, "The exit code and the health log below say why. Nothing is lost: a new start goes on from the last commit.");
  if (tracker.state === "silent") add("critical", "The tracker is silent", "Does its process run? Is its disk full? Its /healthz tells, where metrics are on.");
  if (tracker.state === "stopped") add("warning", "The tracker is stopped", "If nobody meant that: start it; it goes on from the last commit.");
  if (tracker.state === "unknown") add("warning", "Nothing is known of the tracker yet", "Are --log-file and --events-file those of the tracker?");
  if (tracker.disk_full) add("critical", "The disk of the audit log is full: nothing is committed", "Make room; the tracker goes on by itself. Nothing is lost meanwhile.");
  if (tracker.breaker === "open" || tracker.breaker === "half_open") add("critical", `The delivery target is out (guard ${tracker.breaker.replace("_", " ")}): records wait`, "Repair the target. The guard probes it, and delivers again by itself.");
  if (outcomes.success_level === "warning" || outcomes.success_level === "critical") {
    const [worst] = Object.entries(figures.categories).sort((a, b) => b[1] - a[1]);
    add(outcomes.success_level, `${percent(100 - outcomes.success_percent)} of the outcomes are dead letters, most of them ${worst[0]}`, next(worst[0], figures.causes[0]?.cause ?? ""));
  }
  for (const note of figures.notes) add("warning", note, "");
  return found;
}

function tile(level, label, value, more) {
  const known = level === "excellent" ? "good" : level;
  return el("div", { class: `card tile ${known ?? ""}` },
    el("h2", {}, label), el("p", { class: "value" }, value), el("p", { class: "more" }, more));
}

function tiles(figures) {
  const { tracker, outcomes, latency_ms: latency } = figures;
  const about = figures.exact ? "" : "about ";
  const behind = Math.max(0, ...figures.partitions.map(one => one.behind_ms ?? 0));
  const lag = tracker.lag === null
    ? ["–", figures.partitions.length ? `records waited up to ${age(behind)}; --metrics-url tells the lag` : "nothing was read yet"]
    : [grouped(tracker.lag), `records in ${figures.partitions.length} partitions`];
  const depth = tracker.dlq_depth === null ? "" : `${grouped(tracker.dlq_depth)} in the topic`;
  return [
    tile(LEVELS[tracker.state], "Tracker", tracker.state, tracker.age_ms === null ? "never heard of" : `heard of ${age(tracker.age_ms)} ago`),
    tile(tracker.breaker === "open" ? "warning" : tracker.lag === 0 ? "good" : null, "Lag", ...lag),
    tile(outcomes.success_level, "Processed", outcomes.success_percent === null ? "–" : percent(outcomes.success_percent), `${about}${grouped(outcomes.processed)} of ${grouped(outcomes.total)} · ${outcomes.success_level ?? "no outcome"}`),
    tile(outcomes.dead_lettered ? outcomes.success_level : "good", "Dead letters", `${about}${grouped(outcomes.dead_lettered)}`, depth || `in ${age(figures.window.seconds * 1000)}`),
    tile(null, "Latency p95", latency ? age(latency.p95) : "–", latency ? `p50 ${age(latency.p50)} · p99 ${age(latency.p99)} · max ${age(latency.max)}` : "no outcome"),
    tile(outcomes.quality_level, "Quality", outcomes.quality === null ? "–" : outcomes.quality.toFixed(1), `of 100 · ${outcomes.quality_level ?? "no outcome"} · ${grouped(outcomes.retried)} retried`),
  ];
}

function partitions(all) {
  if (!all.length) return el("p", { class: "quiet" }, "No partition has an outcome in the window.");
  const number = value => el("td", { class: "number" }, value);
  const row = one => el("tr", {}, el("td", {}, `${short(one.topic, 60)}/${one.partition}`),
    number(one.lag === null ? "–" : grouped(one.lag)), number(one.behind_ms === null ? "–" : age(one.behind_ms)),
    number(one.last_offset ?? "–"), number(one.last_seen ? clock(one.last_seen) : "–"));
  const head = ["Lag", "Waited", "Last offset", "At"].map(name => el("th", { scope: "col", class: "number" }, name));
  return el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Partition"), head)),
    el("tbody", {}, all.slice(0, 50).map(row)));
}

function causes(all) {
  if (!all.length) return el("li", { class: "quiet" }, "None in the window.");
  const most = all[0].count;
  return all.slice(0, 12).map(one => el("li", {}, el("div", {},
    el("span", { class: "count" }, grouped(one.count)), short(one.cause, 200),
    el("div", { class: "todo" }, next(null, one.cause)),
    el("progress", { max: most, value: one.count, "aria-hidden": "true" }))));
}

const outcome = one => el("li", { class: one.outcome === "processed" ? "" : "critical" },
  el("time", { datetime: one.timestamp }, clock(one.timestamp)),
  `${one.outcome === "processed" ? "✓" : "✖"} ${one.topic}/${one.partition}/${one.offset} `,
  el("span", { class: "quiet" }, short(one.key ?? "no key", 60)),
  one.error ? el("div", {}, `${one.reason}: ${short(one.error, 200)}`) : null);

const entry = one => el("li", { class: { WARN: "warning", ERROR: "critical" }[one.level] ?? "" },
  el("time", { datetime: one.timestamp }, clock(one.timestamp)),
  `${one.level} ${short(one.message, 200)}`, one.error ? el("div", {}, short(one.error, 300)) : null);

function show(figures) {
  const level = LEVELS[figures.tracker.state];
  const life = $("life");
  life.className = `pill ${level}`;
  write(life, `${SIGNS[level]}${figures.tracker.state}${figures.live ? "" : ", then"}`);
  document.title = `${SIGNS[level]}${figures.tracker.state} · Order tracker`;
  redraw($("tiles"), { ...figures, at: 0, series: 0, newest_outcomes: 0, newest_health: 0 }, () => tiles(figures));
  redraw($("hand"), hand(figures), found => (found.length
    ? found.map(one => el("li", { class: one.level }, `${SIGNS[one.level]}${one.what} `, el("span", { class: "todo" }, one.todo)))
    : el("li", { class: "good" }, "✓ Nothing.")));
  charts.forEach(one => one.show(figures.series, figures.window));
  write($("causes-window"), `in ${age(figures.window.seconds * 1000)}`);
  redraw($("causes"), figures.causes, causes);
  redraw($("partitions"), figures.partitions, partitions);
  redraw($("outcomes"), figures.newest_outcomes, all => (all.length ? all.map(outcome) : el("li", { class: "quiet" }, "None.")));
  redraw($("health"), figures.newest_health, all => (all.length ? all.map(entry) : el("li", { class: "quiet" }, "Nothing.")));
}

// The views, by the part of the address behind #.
function turn() {
  const [view, id] = (location.hash.slice(1) || "now").split("/");
  const known = ["now", "letters", "plans"].includes(view) ? view : "now";
  for (const name of ["now", "letters", "plans"]) $(`view-${name}`).hidden = name !== known;
  for (const link of document.querySelectorAll(".top nav a")) {
    if (link.getAttribute("href") === `#${known}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (known === "letters") showLetters(id);
  if (known === "plans") showPlans(id);
}

$("skip").addEventListener("click", event => {
  event.preventDefault();
  $("main").focus();
});
window.addEventListener("hashchange", turn);

// A page that nobody sees asks for nothing: a browser has but six connections for all of its tabs.
let live = null;
function listen() {
  live?.close();
  live = null;
  if (document.hidden) return;
  live = new EventSource("/api/live");
  live.addEventListener("figures", event => {
    const figures = JSON.parse(event.data);
    show(figures);
    write($("link"), figures.live ? "live" : `at ${moment(figures.at)}`);
  });
  live.addEventListener("error", () => write($("link"), "▲ no connection to the monitor: the figures are old; trying again"));
}
document.addEventListener("visibilitychange", listen);
window.addEventListener("pagehide", () => live?.close());
window.addEventListener("pageshow", event => event.persisted && listen());

try {
  const about = await ask("/api/about");
  begin(about);
  write($("foot"), `pubsub-kafka ${about.version} · times are UTC · ${about.allow_replay ? "replays are allowed" : "read-only"}`);
} catch (error) {
  write($("link"), visible(error.message));
}
turn();
listen();
