// What every part of the page is made with: elements whose text is text, numbers and times for people, charts, and
// questions to the server. No text from elsewhere becomes markup: it only ever goes through textContent.

const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

// Text with what would be invisible, or would turn the reading direction, written out.
export function visible(text) {
  return String(text).replace(UNSAFE, c => `\\u{${c.codePointAt(0).toString(16)}}`);
}

// The same for a text whose line breaks are its own.
export const lines = text => String(text).split("\n").map(visible).join("\n");

export function short(text, most = 160) {
  const chars = [...String(text)];
  return chars.length > most ? `${chars.slice(0, most).join("")}…` : String(text);
}

// An element: attributes (a function is a listener), then what is in it: elements, or text.
export function el(name, attributes = {}, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...content.flat().filter(part => part !== null && part !== undefined && part !== "")
    .map(part => (part instanceof Node ? part : visible(part))));
  return element;
}

export const $ = id => document.getElementById(id);

// Draws a part again when what it shows has changed, and only then: focus, selection and scrolling stay.
const drawn = new WeakMap();
export function redraw(element, data, draw) {
  const now = JSON.stringify(data) ?? "";
  if (drawn.get(element) === now) return;
  drawn.set(element, now);
  element.replaceChildren(...[draw(data)].flat().map(part => (part instanceof Node ? part : visible(part))));
}

export function write(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
}

export const grouped = number => Math.round(number).toLocaleString("en-US");
export const percent = number => `${number.toFixed(number > 0 && number < 10 ? 2 : 1)} %`;
// Of a scale: without the digits that say nothing.
const brief = number => String(Number(number.toPrecision(3)));

export const rate = number => (number >= 100 ? grouped(number) : number >= 1 ? number.toFixed(1) : number.toFixed(2));
export const clock = time => `${new Date(time).toISOString().slice(11, 19)}Z`;
export const moment = time => (time ? `${new Date(time).toISOString().slice(0, 19).replace("T", " ")}Z` : "–");

export function age(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 120) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
}

// Questions to the server. What goes wrong is an Error with the server's own words.
export async function ask(path, body) {
  const command = { method: "POST", headers: { "content-type": "application/json", "x-monitor": "1" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, body === undefined ? {} : command);
  } catch {
    throw new Error("the monitor does not answer: does it still run?");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error ?? `the monitor answered ${answer.status}`);
  return said;
}

const SVG = "http://www.w3.org/2000/svg";
function shape(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// The next round number, so that the scale does not jump with every value.
function roundUp(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * unit).find(step => step >= value);
}

// A chart over the slots of the window. `of` gives a slot's value or null, `say` its words, `tick` those of the
// scale, `limits` what is marked.
// The pointer, or the arrow keys, read single values.
export function chart({ id, title, kind, of, say, tick = brief, limits = [], least = 0 }) {
  const output = el("output", { class: "quiet", for: id });
  const svg = shape("svg", { id, role: "img", tabindex: "0" });
  const figure = el("figure", { class: "card chart" }, el("figcaption", {}, el("h2", {}, title), output));
  figure.append(svg);
  let slots = [], seconds = 5, cursor = null;
  const LEFT = 46, RIGHT = 6, TOP = 8, BOTTOM = 18, HEIGHT = 130;

  function told() {
    const at = cursor ?? slots.findLastIndex(slot => of(slot) !== null);
    const slot = slots[at];
    write(output, slot ? `${clock(slot.at)}  ${of(slot) === null ? "nothing" : say(of(slot))}` : "nothing yet");
  }

  function draw() {
    const width = svg.clientWidth || 320, high = HEIGHT - TOP - BOTTOM, wide = width - LEFT - RIGHT;
    const values = slots.map(of);
    const max = roundUp(Math.max(least, ...values.filter(value => value !== null)));
    const x = at => LEFT + (wide * at) / Math.max(1, slots.length);
    const y = value => TOP + high * (1 - Math.min(value, max) / max);
    const step = wide / Math.max(1, slots.length);
    const parts = [];
    for (const value of [0, max / 2, max]) {
      parts.push(shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
      parts.push(shape("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, tick(value)));
    }
    for (const { value, level } of limits.filter(limit => limit.value < max)) {
      parts.push(shape("line", { class: `limit ${level}`, x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    }
    if (kind === "line") {
      let path = "", pen = "M";
      values.forEach((value, at) => {
        if (value === null) { pen = "M"; return; }
        path += `${pen}${(x(at) + step / 2).toFixed(1)} ${y(value).toFixed(1)}`;
        const isAlone = (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null;
        if (isAlone) parts.push(shape("circle", { class: "dot", cx: x(at) + step / 2, cy: y(value), r: 2 }));
        pen = "L";
      });
      if (path) parts.push(shape("path", { class: "line", d: path }));
    } else {
      values.forEach((value, at) => {
        if (value > 0) {
          const top = Math.min(y(value), HEIGHT - BOTTOM - 1);
          parts.push(shape("rect", { class: `bar ${kind}`, x: x(at).toFixed(1), y: top.toFixed(1), width: Math.max(1, step - 1).toFixed(1), height: (HEIGHT - BOTTOM - top).toFixed(1) }));
        }
      });
    }
    if (cursor !== null && slots[cursor]) {
      parts.push(shape("line", { class: "cursor", x1: x(cursor) + step / 2, x2: x(cursor) + step / 2, y1: TOP, y2: HEIGHT - BOTTOM }));
    }
    if (slots.length) {
      parts.push(shape("text", { x: LEFT, y: HEIGHT - 4 }, clock(slots[0].at)));
      const end = new Date(slots.at(-1).at).getTime() + seconds * 1000;
      parts.push(shape("text", { x: width - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, clock(end)));
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    svg.replaceChildren(...parts);
    const known = values.filter(value => value !== null);
    const range = known.length ? `from ${say(Math.min(...known))} to ${say(Math.max(...known))}` : "nothing yet";
    svg.setAttribute("aria-label", `${title}, ${slots.length} slots of ${seconds} s: ${range}. Arrow keys read single values.`);
    told();
  }

  function move(to) {
    cursor = to === null || !slots.length ? null : Math.max(0, Math.min(slots.length - 1, to));
    draw();
  }
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    move(Math.floor(((event.clientX - box.left - LEFT) / Math.max(1, box.width - LEFT - RIGHT)) * slots.length));
  });
  svg.addEventListener("pointerleave", () => move(null));
  svg.addEventListener("blur", () => move(null));
  svg.addEventListener("keydown", event => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    move((cursor ?? slots.length) + step);
  });
  new ResizeObserver(draw).observe(svg);
  const show = (series, window) => {
    [slots, seconds] = [series, window.seconds / Math.max(1, series.length)];
    draw();
  };
  return { figure, show };
}
