// Dead letters, grouped by cause, found, and one in full; and their replay: plan, review, apply, status. The server does it
// with the code of the dlq tool and asks what the tool asks; this only shows it.

import { $, ask, el, grouped, lines, moment, redraw, short, write } from "./parts.js";

const REASONS = ["DESERIALIZATION_ERROR", "VALIDATION_ERROR", "PROCESSING_ERROR", "TIMEOUT_ERROR", "UNKNOWN_ERROR"];

// What to do next: by what the error says, else by its category.
export function next(reason, error) {
  if (error.startsWith("the delivery target answered")) return "Next: has the target been repaired, or does it take these now? Then plan a replay and begin with a few.";
  if (error.startsWith("the order is not valid")) return "Next: fix the value (dlq replay ID --set, dlq edit ID), or discard.";
  if (error.startsWith("the payload is not an order")) return "Next: find the sender by key and headers, have it fixed there; a replay as it is fails again.";
  return {
    DESERIALIZATION_ERROR: "Next: find the sender by key and headers, have it fixed there; a replay as it is fails again.",
    VALIDATION_ERROR: "Next: open one; what the validator still objects to has to be fixed, the rest can be replayed.",
    PROCESSING_ERROR: "Next: does the target work again? Then plan a replay and begin with a few.",
    TIMEOUT_ERROR: "Next: is the target fast again? Then plan a replay with a rate that it can bear.",
    UNKNOWN_ERROR: "Next: open one and read its error stack; a defect has to be fixed before anything is replayed.",
  }[reason] ?? "";
}

const STATES = { "": "any", open: "open", replayed: "replayed", discarded: "discarded" };
const PREDICTIONS = {
  passes: ["good", "the validator takes it now"],
  fails_again: ["critical", "the validator would refuse it again"],
  superseded: ["warning", "a newer state of the order was processed: it is left out"],
  already_replayed: ["warning", "it was replayed before: it is left out"],
  unknown: ["warning", "no order, so nobody here can tell"],
};
const NO_LETTERS = "Dead letters need a monitor that was built with the feature dlq (cargo build --features monitor,dlq).";

let about = { dlq_topic: null, allow_replay: false };
let cause = null; // of the chosen group: {reason, error}
let isFound = false;

const pill = (level, text) => el("span", { class: `pill ${level}` }, text);
const stateLevel = { open: "warning", replayed: "good", discarded: "" };
const fail = where => error => {
  $(where).className = "told critical";
  write($(where), error.message);
};
function tell(where, text) {
  $(where).className = "told";
  write($(where), text);
}

export function begin(told) {
  about = told;
  const options = (select, values) => select.append(...values.map(([value, name]) => el("option", { value }, name)));
  options($("search-reason"), [["", "any"], ...REASONS.map(name => [name, name])]);
  options($("search-status"), Object.entries(STATES));
  $("search-status").value = "open";
  $("search").addEventListener("submit", event => {
    event.preventDefault();
    cause = null;
    find();
  });
  if (about.dlq_topic === null) {
    for (const id of ["search", "letters-found"]) $(id).hidden = true;
    $("plan").parentElement.hidden = true;
    tell("letters-told", NO_LETTERS);
    tell("plans-told", NO_LETTERS);
  }
}

// What the form says.
function choice() {
  const chosen = {};
  for (const [name, id] of [["text", "search-text"], ["reason", "search-reason"], ["status", "search-status"]]) {
    if ($(id).value.trim()) chosen[name] = $(id).value.trim();
  }
  return chosen;
}

const withCause = chosen => (cause ? { ...chosen, reason: cause.reason, cause: cause.error } : chosen);

async function find() {
  isFound = true;
  tell("letters-told", "searching …");
  try {
    const stats = await ask("/api/letters/causes", choice());
    groups(stats);
    if (cause && !stats.by_error.some(one => one.error === cause.error && one.reason === cause.reason)) cause = null;
    await list();
    const last = stats.newest ? `, the newest of ${moment(stats.newest)}` : "";
    tell("letters-told", `${grouped(stats.dead_letters)} dead letters in ${stats.topic} match${last}; ${grouped(stats.last_hour)} in the last hour`);
  } catch (error) {
    fail("letters-told")(error);
  }
}

function groups(stats) {
  const most = Math.max(1, ...stats.by_error.map(one => one.count));
  const pressed = one => cause !== null && one.error === cause.error && one.reason === cause.reason;
  const group = one => el("li", {}, el("button", {
    type: "button", "aria-pressed": String(pressed(one)),
    click: event => {
      cause = pressed(one) ? null : { reason: one.reason, error: one.error };
      for (const button of $("groups").querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
      event.currentTarget.setAttribute("aria-pressed", String(cause !== null));
      list().catch(fail("letters-told"));
    },
  }, el("span", { class: "count" }, grouped(one.count)), short(one.error, 220),
  el("div", { class: "quiet" }, `${one.reason}, last ${moment(one.last)}`),
  el("div", { class: "todo" }, next(one.reason, one.error)),
  el("progress", { max: most, value: one.count, "aria-hidden": "true" })));
  redraw($("groups"), stats.by_error, all => (all.length ? all.map(group) : el("li", { class: "quiet" }, "No dead letter matches.")));
}

let lists = 0;
async function list() {
  const chosen = withCause(choice());
  lists += 1;
  const turn = lists;
  const found = await ask("/api/letters/list", chosen);
  // Somebody has chosen something else meanwhile.
  if (turn !== lists) return;
  const row = one => el("li", {}, el("a", { href: `#letters/${one.id}` },
    el("span", { class: "id mono" }, one.id.slice(0, 8)), short(one.key ?? "no key", 60),
    el("div", {}, short(one.error, 200)),
    el("div", { class: "quiet" }, `${one.status} · ${one.reason} · ${moment(one.timestamp)} · ${one.original_topic ?? "origin unknown"}${one.original_topic ? `/${one.original_partition}@${one.original_offset}` : ""}${one.replay_count ? ` · replayed ${one.replay_count} ×` : ""}`)));
  redraw($("rows"), found, ({ rows, more }) => [
    ...rows.map(row),
    rows.length ? null : el("li", { class: "quiet" }, "None."),
    more ? el("li", { class: "quiet" }, `The first ${rows.length}; a narrower search shows the others.`) : null,
  ].filter(Boolean));
  $("rows-plan").replaceChildren(planButton(cause ? "Plan a replay of this cause" : "Plan a replay of all that match", chosen, !found.rows.length));
}

function planButton(label, chosen, isEmpty) {
  if (!about.allow_replay) return el("p", { class: "quiet" }, "Read-only: started with --allow-replay, the monitor can plan replays here.");
  const isWide = Object.keys(chosen).length === 0;
  const press = async event => {
    event.currentTarget.disabled = true;
    tell("letters-told", "planning: nothing is sent …");
    try {
      const planned = await ask("/api/plans", chosen);
      location.hash = `#plans/${planned.plan_id}`;
      tell("letters-told", "");
    } catch (error) {
      fail("letters-told")(error);
    }
  };
  return el("div", { class: "actions" }, el("button", { type: "button", class: "main", disabled: isEmpty || isWide, click: press }, label),
    el("span", { class: "quiet" }, isWide ? "Choose some first: a status, a reason, a cause or a text." : "A plan sends nothing."));
}

export async function showLetters(id) {
  if (about.dlq_topic === null) return;
  if (!isFound) find();
  for (const link of $("rows").querySelectorAll("a")) {
    if (link.getAttribute("href") === `#letters/${id}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  $("letter").hidden = !id;
  if (!id) return;
  const article = $("letter");
  article.replaceChildren(el("h2", { id: "letter-title" }, "Dead letter"), el("p", {}, "reading …"));
  try {
    const letter = await ask(`/api/letters/${encodeURIComponent(id)}`);
    article.replaceChildren(...one(letter));
  } catch (error) {
    article.replaceChildren(el("h2", { id: "letter-title" }, "Dead letter"), el("p", {}, error.message));
  }
  article.scrollIntoView({ block: "start" });
  article.focus({ preventScroll: true });
}

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

const header = one => el("tr", {}, el("th", { scope: "row", class: "mono" }, short(one.name, 100)),
  el("td", { class: "mono" }, one.value_base64 === undefined ? (one.value === null ? "(null)" : short(one.value, 300)) : `Base64 ${short(one.value_base64, 300)}`));

function headers(title, all) {
  if (!all.length) return [];
  return [el("h3", {}, title), el("table", {}, el("tbody", {}, all.map(header)))];
}

function one(letter) {
  const verdict = letter.validation;
  const says = {
    passes: ["good", "✓ The validator takes it now", null],
    fails: ["critical", "✖ The validator refuses it now", `${verdict.reason}: ${short(verdict.error ?? "", 600)}`],
    unknown: ["warning", "▲ The validator cannot tell", "the payload is not in the dead letter"],
  }[verdict.verdict];
  const origin = letter.original_topic === null ? null : `${letter.original_topic}/${letter.original_partition}@${letter.original_offset}${letter.original_timestamp ? `, of ${moment(letter.original_timestamp)}` : ""}`;
  const happened = [
    ...letter.chain.map(link => [link.timestamp, `died${link.replay_count ? ` after replay ${link.replay_count}` : ""}: ${link.reason}: ${short(link.error, 200)}`]),
    ...letter.statuses.map(done => [done.timestamp, `${done.status}${done.replayed_to ? ` to ${done.replayed_to.topic}/${done.replayed_to.partition}@${done.replayed_to.offset}` : ""}${done.edited ? ", edited" : ""}${done.why ? `: ${done.why}` : ""}, by ${done.by}`]),
  ].sort((a, b) => (a[0] < b[0] ? -1 : 1));
  const payload = letter.payload_shown !== null
    ? el("pre", { tabindex: "0", "aria-label": "payload" }, document.createTextNode(lines(letter.payload_shown)))
    : el("p", {}, letter.payload_omitted ? "Not in the dead letter: at its source, or in the audit log." : "null (a tombstone)");
  return [
    el("h2", { id: "letter-title" }, "Dead letter"),
    el("p", { class: "mono" }, letter.id),
    el("p", { class: "actions" }, pill(stateLevel[letter.status], letter.status), pill(says[0], says[1])),
    facts([
      ["Validator", says[2]], ["Reason", letter.reason], ["Error", short(letter.error, 1000)], ["Exception", letter.exception],
      ["To do", next(letter.reason, letter.error).slice(6)], ["Key", letter.key ?? letter.key_base64 ?? (letter.key_omitted ? "not in the dead letter" : "null")],
      ["Origin", origin], ["Lies at", `${letter.dlq_topic}/${letter.dlq_partition}@${letter.dlq_offset}, written by ${letter.dialect}`],
      ["Failed at", `${moment(letter.timestamp)}${letter.retry_count ? `, after ${letter.retry_count} retries` : ""}`],
      ["Group", letter.consumer_group], ["Host", letter.processing_host],
      ["Replays", letter.replay_count ? `${letter.replay_count} before it died this time` : null],
    ]),
    planButton("Plan a replay of this one", { id: letter.id }, false),
    el("h3", {}, "Payload"), payload,
    letter.payload_left_out ? el("p", { class: "quiet" }, `… ${grouped(letter.payload_left_out)} more bytes: dlq show ${letter.id} --raw`) : null,
    el("h3", {}, "History"),
    el("ol", { class: "lines" }, happened.map(([at, what]) => el("li", {}, el("time", { datetime: at }, moment(at)), what))),
    ...headers("Headers", letter.headers), ...headers("Headers of the dead letter", letter.dlq_headers),
    ...(letter.error_stack ? [el("h3", {}, "Error stack"), el("pre", { tabindex: "0", "aria-label": "error stack" }, document.createTextNode(lines(short(letter.error_stack, 8000))))] : []),
  ].filter(Boolean);
}

// Replays

let shown = null; // the plan that is seen
let watch = 0; // of its kind the newest one goes on

export async function showPlans(id) {
  if (about.dlq_topic === null) return;
  shown = id ?? null;
  watch += 1;
  tell("plans-told", about.allow_replay ? "" : "Read-only: the monitor needs --allow-replay to plan and to apply.");
  const row = plan => el("li", {}, el("a", { href: `#plans/${plan.plan_id}`, "aria-current": plan.plan_id === id && "true" },
    el("span", { class: "id mono" }, plan.plan_id.slice(0, 8)), el("span", { class: "quiet" }, moment(plan.written))));
  try {
    const all = await ask("/api/plans");
    $("plans").replaceChildren(...(all.length ? all.map(row) : [el("li", { class: "quiet" }, "None here yet. Search dead letters, then plan a replay of them.")]));
    if (!id) {
      $("plan").replaceChildren(el("h2", { id: "plan-title" }, "Plan"), el("p", { class: "quiet" }, "Plan → review → apply → status: choose a plan, or make one among the dead letters."));
      return;
    }
    const plan = await ask(`/api/plans/${encodeURIComponent(id)}`);
    review(plan);
    $("plan").focus({ preventScroll: true });
    follow(plan, watch);
  } catch (error) {
    fail("plans-told")(error);
  }
}

const counted = counts => Object.entries(counts).filter(([, count]) => count > 0).map(([name, count]) => `${name} ${grouped(count)}`).join(", ") || "–";

function review(plan) {
  const entry = one => {
    const [level, words] = PREDICTIONS[one.prediction];
    return el("li", {}, el("a", { href: `#letters/${one.id}` }, el("span", { class: "id mono" }, one.id.slice(0, 8)),
      pill(level, one.prediction), ` ${one.order_id ? short(one.order_id, 60) : ""} → ${one.target ?? "no target"}`,
      el("div", { class: "quiet" }, short(one.why ?? words, 200))));
  };
  $("plan").replaceChildren(...[
    el("h2", { id: "plan-title" }, "1 Review"),
    facts([["Plan", el("span", { class: "mono" }, plan.plan_id)], ["Made", `${moment(plan.created)} by ${plan.by}`], ["Chosen by", plan.filters.join(" ") || "–"],
      ["Dead letters", grouped(plan.entries)], ["Expected", counted(plan.counts)], ["Died of", counted(plan.reasons)], ["Go to", counted(plan.targets)],
      ["File", `${plan.file}: dlq apply, dlq status work on it, too`]]),
    about.allow_replay && plan.entries ? applying(plan) : null,
    el("h3", {}, "3 Status"),
    el("p", { id: "job", role: "status" }),
    el("div", { id: "became" }),
    el("div", { class: "actions" }, el("button", { type: "button", click: () => became(plan).catch(fail("plans-told")) }, "What became of it?")),
    el("h3", {}, "What is in it"),
    el("ul", { class: "rows" }, plan.first_entries.map(entry)),
    plan.entries > plan.first_entries.length ? el("p", { class: "quiet" }, `… and ${grouped(plan.entries - plan.first_entries.length)} more in the file.`) : null,
  ].filter(Boolean));
}

function applying(plan) {
  const answer = el("input", { id: "answer", type: "text", autocomplete: "off", autocapitalize: "off", size: "6", "aria-describedby": "asked" });
  const canary = el("input", { type: "checkbox", id: "canary", checked: true });
  const most = el("input", { id: "rate", type: "number", min: "0.1", step: "any", placeholder: "no limit", size: "10" });
  const send = async isDry => {
    const order = { question: plan.question, answer: answer.value, dry_run: isDry, canary: canary.checked };
    if (most.value) order.rate = Number(most.value);
    tell("plans-told", "");
    try {
      await ask(`/api/plans/${plan.plan_id}/apply`, order);
      answer.value = "";
      watch += 1;
      follow(plan, watch);
    } catch (error) {
      fail("plans-told")(error);
    }
  };
  const form = el("form", { submit: event => { event.preventDefault(); send(false); } }, el("fieldset", {}, el("legend", {}, "2 Apply"),
    el("p", { class: "actions" }, el("button", { type: "button", click: () => send(true) }, "Dry run"), el("span", { class: "quiet" }, "does everything but write")),
    el("label", {}, canary, " Begin with 1, then 10, then 100; wait for what becomes of them, and end if more than 5 % fail again"),
    el("label", {}, "Records per second, at most ", most),
    el("p", { id: "asked", class: "asked" }, plan.question),
    el("p", { class: "actions" }, el("label", {}, "Type yes ", answer), el("button", { type: "submit", class: "main" }, "Apply"))));
  return form;
}

const wait = ms => new Promise(done => setTimeout(done, ms));

// Follows the apply of this plan, if one runs, and then what becomes of its replays.
async function follow(plan, turn) {
  try {
    for (;;) {
      const job = await ask("/api/job");
      if (turn !== watch || shown !== plan.plan_id || !$("job") || job?.plan_id !== plan.plan_id) return;
      redraw($("job"), job, () => told(job));
      if (!job.running) {
        if (job.dry_run || job.error) return;
        break;
      }
      await wait(500);
    }
    while (turn === watch && location.hash === `#plans/${plan.plan_id}`) {
      const counts = await became(plan);
      if (!counts.pending) return;
      await wait(3000);
    }
  } catch (error) {
    fail("plans-told")(error);
  }
}

function told(job) {
  const what = job.dry_run ? "Dry run" : "Apply";
  if (job.running) {
    return [`${what}: ${grouped(job.done)} of ${grouped(job.total)} `, el("progress", { max: Math.max(1, job.total), value: job.done, "aria-label": what }), " ",
      about.allow_replay ? el("button", { type: "button", click: () => ask("/api/job/stop", {}).catch(fail("plans-told")) }, "Stop") : ""];
  }
  if (job.error) return [pill("critical", "✖ ended"), ` ${job.error}`];
  const done = job.applied;
  const isWhole = done.ended === "complete" && Object.keys(done.problems).length === 0;
  const verb = job.dry_run ? "would be sent" : "sent";
  const rest = [
    done.already_there ? `${grouped(done.already_there)} were there already` : "",
    Object.keys(done.left_out).length ? `left out: ${counted(done.left_out)}` : "",
    Object.keys(done.problems).length ? `not sent: ${counted(done.problems)}` : "",
    done.remaining ? `${grouped(done.remaining)} remain: apply again` : "", done.why ?? "",
  ].filter(Boolean).join("; ");
  return [pill(isWhole ? "good" : "warning", isWhole ? "✓ done" : `▲ ${done.ended}`), ` ${what}: ${grouped(done.sent)} ${verb}${rest ? `; ${rest}` : ""}`,
    ...done.first_problems.map(problem => el("span", { class: "quiet" }, ` · ${problem.id.slice(0, 8)}: ${short(problem.message, 200)}`))];
}

async function became(plan) {
  const status = await ask(`/api/plans/${plan.plan_id}/status`);
  const level = { processed: "good", failed_again: "critical", pending: "warning", left_out: "warning" };
  const known = Object.entries(status.counts).filter(([, count]) => count > 0);
  const bad = status.replays.filter(one => one.state === "failed_again").slice(0, 20);
  if ($("became")) {
    redraw($("became"), [known, bad], () => [
      el("p", { class: "actions" }, known.map(([name, count]) => pill(level[name], `${name.replace("_", " ")} ${grouped(count)}`))),
      el("ul", { class: "lines" }, bad.map(one => el("li", { class: level[one.state] }, `${one.id.slice(0, 8)} ${one.state}: ${short(one.why, 200)}`))),
    ]);
  }
  return status.counts;
}
