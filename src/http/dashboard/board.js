// The dashboard. No framework, no outside requests. Whatever comes from the server is put in as text, never as markup.
"use strict";

const API = {
  key: "/v1/key",
  stats: "/v1/stats",
  events: "/v1/events",
  payments: "/v1/payments",
  payment: "/v1/payments/{id}",
  outlook: "/v1/payments/{id}/outlook",
  inquire: "/v1/payments/{id}/inquire",
  resolve: "/v1/payments/{id}/resolve",
  pause: "/v1/gateways/{gateway}/pause",
  resume: "/v1/gateways/{gateway}/resume",
  drain: "/v1/drain",
  audit: "/v1/audit",
};

// A second is what eyes follow; two minutes are what a person remembers.
const EVERY = 1000;
const KEPT = 120;
// More events than this a second are no longer read by anybody: the feed rests.
const FLOOD = 200;
const FEED_REST = 10000;
const SHOWN_EVENTS = 12;
const SHOWN_ROWS = 10;
const PAGE = 50;

const STATES = {
  processing: ["wait", "processing", "on its way, nothing bad is known"],
  requires_action: ["wait", "requires action", "the payer has to do something"],
  in_doubt: ["doubt", "in doubt", "only the gateway knows, and is being asked"],
  parked: ["bad", "parked", "only the gateway knows, and a person should look"],
  authorized: ["good", "authorized", "set aside, not moved"],
  succeeded: ["good", "succeeded", "the money moved"],
  declined: ["gone", "declined", "the gateway decided against it"],
  canceled: ["gone", "canceled", "nothing was done, and nothing will be"],
};

const TROUBLES = {
  moved: "This data folder is a copy or was restored: nothing is sent from it until it was started once with --moved.",
  storage_full: "The disk is full: new payments are refused, outcomes of what is under way still land. Make room.",
  store_failed: "The store takes no more rows: no new payments until the next start. The journal has everything.",
  draining: "payonce drains: an operator has it take nothing new; what is under way goes on to its end.",
  stopping: "payonce is stopping: it takes nothing new.",
};

const EVENTS = {
  accepted: "A caller asked for it, under a key that was new.",
  intended: "It was decided on: the amount is held, and the exact bytes to be sent are recorded.",
  rerouted: "It goes to another gateway: at the one before certainly nothing had happened.",
  prepared: "The gateway gave it an id, before anything was sent.",
  attempt_started: "Recorded as about to be sent: from here on the gateway may have it.",
  attempt_ended: "The sending ended.",
  learned: "What became of it was learned.",
  parked: "It was left to a person.",
  unparked: "What had parked it is over: it is being asked about again.",
  canceled: "Nothing was done, and nothing will be.",
  contradicted: "News that contradicts what was told. The answer does not change.",
  window_closed: "The time in which the decline could still turn is over.",
};

const OUTCOMES = {
  succeeded: "The gateway did it.",
  declined: "The gateway decided against it.",
  declined_soft: "The gateway decided against it, and may still reverse that.",
  pending: "The gateway has accepted it, and decides later.",
  not_sent: "Not one byte of it left: certainly nothing happened.",
  refused: "The gateway refused it without executing anything.",
  not_found: "The gateway does not know it.",
  unknown: "What came is no answer: it may have happened, or not.",
};

const EVIDENCE = {
  no_byte_left: "our own socket: not one byte of the request left",
  reply: "the gateway's own reply",
  inquiry: "the gateway's answer when it was asked",
  webhook: "the gateway said so by itself",
  stopped: "nothing: the process stopped with the sending under way",
};

const DEEDS = {
  inquire: "had the gateway asked about",
  pause: "paused gateway",
  resume: "resumed gateway",
  drain: "had nothing new taken",
  admit: "had what is new taken again",
  replay: "had webhooks told again to",
  discard: "gave up telling",
  resolve: "decided about",
  erase: "erased the personal data of",
};

// ---- small things

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const spoken = (words) => (words[0] || "").toUpperCase() + words.slice(1).replaceAll("_", " ");
const byId = (id) => document.getElementById(id);
const path = (template, id) => template.replace(/\{\w+\}/, () => encodeURIComponent(id));
const paymentLink = (id) => "#/payment/" + encodeURIComponent(id);

// The API key lives as long as this tab does, and leaves it only towards payonce. Without one there is nothing to send.
let secret = kept("getItem");
// What the key is: its name, role and tenant, and whether it may see what is about the whole daemon.
let me = null;

// A browser may be told to keep nothing: then it is asked for again after each reload.
function kept(how, value) {
  try { return sessionStorage[how]("payonce_api_key", value); } catch { return null; }
}

const credentials = () => secret ? { Authorization: "Bearer " + secret } : {};

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { cache: "no-store", ...options, headers: { ...credentials(), ...(options || {}).headers } });
  } catch {
    return { ok: false, status: 0, body: { detail: "payonce does not answer" } };
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    body = { detail: "the answer could not be read" };
  }
  if (response.status === 401 && me) signOut("The key is not let in any more.");
  return { ok: response.ok, status: response.status, body };
}

const plainNumber = new Intl.NumberFormat();
const count = (number) => plainNumber.format(number);

function rate(number) {
  return number >= 100 ? count(Math.round(number)) : number >= 10 ? number.toFixed(0) : number.toFixed(1).replace(".0", "");
}

function span(seconds) {
  if (seconds === null || seconds === undefined) return "-";
  if (seconds < 0.001) return Math.round(seconds * 1e6) + " \u00b5s";
  if (seconds < 1) return (seconds * 1000 < 10 ? (seconds * 1000).toFixed(1) : Math.round(seconds * 1000)) + " ms";
  if (seconds < 100) return (seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)) + " s";
  if (seconds < 5400) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " days";
}

function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (number >= 1024 && place < units.length - 1) { number /= 1024; place += 1; }
  return (place === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)) + " " + units[place];
}

function money(amount, currency) {
  try {
    const format = new Intl.NumberFormat(undefined, { style: "currency", currency, currencyDisplay: "code" });
    return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
  } catch {
    return count(amount) + " minor units of " + currency;
  }
}

function clock(iso, withDay) {
  const time = new Date(iso);
  const day = { year: "numeric", month: "short", day: "numeric" };
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: withDay ? 3 : undefined };
  const text = withDay ? time.toLocaleString(undefined, { ...day, ...options }) : time.toLocaleTimeString(undefined, options);
  return h("time", { datetime: iso, title: time.toString() }, text);
}

function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  const text = Math.abs(seconds) < 2 ? "now" : seconds > 0 ? span(seconds) + " ago" : "in " + span(-seconds);
  return h("time", { datetime: iso, title: new Date(iso).toString() }, text);
}

function chip(state) {
  const [kind, text, meaning] = STATES[state] || ["gone", state, ""];
  return h("span", { class: "chip " + kind, title: meaning }, text);
}

function idLink(id) {
  return h("a", { href: paymentLink(id), class: "mono", title: id, "aria-label": "payment " + id }, id.slice(0, 8));
}

function terms(pairs) {
  const known = pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined && pair[1] !== "");
  return h("dl", {}, known.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]));
}

// ---- numbers from histograms

function difference(now, before) {
  return { bounds: now.bounds, counts: now.counts.map((n, i) => Math.max(0, n - (before ? before.counts[i] : 0))) };
}

function sum(histograms) {
  return histograms.reduce((all, one) => ({ bounds: one.bounds, counts: one.counts.map((n, i) => n + (all ? all.counts[i] : 0)) }), null);
}

// Within its bucket a value may be anywhere: the middle of it, by the share that is passed.
function quantile(histogram, share) {
  const all = histogram ? histogram.counts.reduce((a, b) => a + b, 0) : 0;
  if (all === 0) return null;
  let passed = 0;
  for (let i = 0; i < histogram.counts.length; i += 1) {
    const here = histogram.counts[i];
    if (passed + here >= share * all && here > 0) {
      const low = i === 0 ? 0 : histogram.bounds[i - 1];
      const high = i < histogram.bounds.length ? histogram.bounds[i] : low;
      return low + (high - low) * Math.min(1, (share * all - passed) / here);
    }
    passed += here;
  }
  return null;
}

// ---- what is known

const samples = [];
const recent = [];
let paused = false;
let flooded = false;
let view = { tick() {}, leave() {} };

function sampleOf(stats) {
  return { at: performance.now(), stats };
}

function perSecond(of) {
  return samples.map((sample, i) => {
    const before = samples[i - 1];
    if (!before) return null;
    return Math.max(0, ((of(sample.stats) - of(before.stats)) * 1000) / (sample.at - before.at));
  });
}

// Over the last five readings: at a payment a second a single one shows nothing.
function quantiles(of, share) {
  return samples.map((sample, i) => {
    const before = samples[Math.max(0, i - 5)];
    return before === sample ? null : quantile(difference(of(sample.stats), of(before.stats)), share);
  });
}

const last = (values) => values.length ? values[values.length - 1] : null;
const settledAll = (stats) => Object.values(stats.settled).reduce((a, b) => a + b, 0);
const sends = (stats) => sum(stats.gateways.map((gateway) => gateway.calls.send.time));

async function read() {
  if (!me) return;
  const { ok, status, body } = await ask(me.whole ? API.stats : API.key);
  if (!ok) {
    live("off", !me ? "no key" : status === 503 ? "starting or stopping" : "no answer");
    return;
  }
  if (!me.whole) {
    live("on", "live");
    view.tick(null);
    return;
  }
  const newest = last(samples);
  if (newest && body.uptime_seconds < newest.stats.uptime_seconds) samples.length = 0;
  samples.push(sampleOf(body));
  if (samples.length > KEPT) samples.shift();
  live("on", "live");
  banner(body.troubles);
  view.tick(body);
}

function live(kind, text) {
  const element = byId("live");
  element.className = "live " + kind;
  if (element.textContent !== text) element.textContent = text;
}

function banner(troubles) {
  const element = byId("banner");
  const text = troubles.map((trouble) => TROUBLES[trouble] || trouble);
  if (element.dataset.text === text.join(" ")) return;
  element.dataset.text = text.join(" ");
  element.replaceChildren(...text.map((line) => h("p", {}, line)));
  element.hidden = text.length === 0;
}

async function beat() {
  if (!paused && document.visibilityState === "visible") await read();
  setTimeout(beat, EVERY);
}

// ---- the feed: an EventSource cannot say where to begin

async function follow() {
  let from = null;
  for (;;) {
    if (from === null && last(samples)) from = last(samples).stats.journal.lsn;
    if (from !== null && !paused && document.visibilityState === "visible") from = await listen(from);
    const rested = from === null && last(samples);
    await new Promise((resolve) => setTimeout(resolve, rested ? FEED_REST : EVERY));
  }
}

// Returns where to go on; null: after a rest, from what is newest then.
async function listen(from) {
  const stop = new AbortController();
  let heard = [];
  flooded = false;
  try {
    const response = await fetch(API.events, { headers: { ...credentials(), "Last-Event-ID": String(from) }, signal: stop.signal });
    if (!response.ok) return null;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return from;
      if (paused || document.visibilityState !== "visible") { stop.abort(); return from; }
      rest += value;
      const blocks = rest.split("\n\n");
      rest = blocks.pop();
      const events = blocks.map(parse).filter((event) => event !== null);
      if (events.length) from = last(events).lsn;
      const now = performance.now();
      heard = heard.filter((at) => now - at < 1000).concat(events.map(() => now));
      events.slice(-SHOWN_EVENTS).forEach(note);
      flooded = heard.length > FLOOD;
      if (flooded) { stop.abort(); return null; }
    }
  } catch {
    return from;
  }
}

function parse(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
  if (!fields.id || !fields.data) return null;
  try {
    return { lsn: Number(fields.id), ...JSON.parse(fields.data) };
  } catch {
    return null;
  }
}

function note(event) {
  recent.unshift(event);
  recent.length = Math.min(recent.length, SHOWN_EVENTS);
  if (view.heard) view.heard(event);
}

// ---- charts

// Counts grow from nothing; times span decades, from a tenth of a millisecond to a minute.
const LINEAR = {
  top: (value) => niceAbove(value),
  height: (value, top) => value / top,
  marks: (top) => [top],
};
const LOWEST = 1e-4;
const DECADES = {
  top: (value) => Math.max(10 * LOWEST, 10 ** Math.ceil(Math.log10(Math.max(value, LOWEST)) - 1e-9)),
  height: (value, top) => Math.log10(Math.max(value, LOWEST) / LOWEST) / Math.log10(top / LOWEST),
  marks: (top) => Array.from({ length: Math.round(Math.log10(top / LOWEST)) }, (_, i) => top / 10 ** i),
};

function niceAbove(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

// The newest reading is at the right; the left edge is two minutes ago.
function chart(title, help, series, format, scale) {
  const area = svg("svg", { viewBox: "0 0 120 100", preserveAspectRatio: "none", role: "img" });
  const frame = svg("path", { class: "frame", "vector-effect": "non-scaling-stroke" });
  const marks = h("div", { class: "marks", "aria-hidden": "true" });
  area.append(frame);
  const drawn = series.map(([name, kind, dashed]) => {
    const line = svg("path", { class: "line ink-" + kind + (dashed ? " dashed" : "") });
    const value = h("b", {}, "-");
    area.append(line);
    return { name, line, value, key: h("li", {}, h("i", { class: "ink-" + kind + (dashed ? " dashed" : "") }), name + " ", value) };
  });
  const box = h("section", { class: "card" },
    h("h2", { title: help }, title),
    h("ul", { class: "legend" }, drawn.map((one) => one.key)),
    h("div", { class: "chart" }, area, marks),
    h("p", { class: "ends" }, h("span", {}, "2 min ago"), h("span", {}, "now")));
  let shown = null;
  const draw = (rows) => {
    const top = scale.top(Math.max(0, ...rows.flat().filter((value) => value !== null)));
    const y = (value) => 99 - scale.height(value, top) * 94;
    if (top !== shown) {
      shown = top;
      frame.setAttribute("d", "M0 99.5H120" + scale.marks(top).map((mark) => `M0 ${y(mark)}H120`).join(""));
      marks.replaceChildren(...scale.marks(top).map((mark) => {
        const label = h("span", {}, format(mark));
        label.style.top = y(mark) + "%";
        return label;
      }));
    }
    drawn.forEach((one, i) => {
      one.line.setAttribute("d", outline(rows[i], y));
      const newest = rows[i].findLast((value) => value !== null);
      one.value.textContent = newest === undefined ? "-" : format(newest);
    });
    area.setAttribute("aria-label", title + ": " + drawn.map((one) => one.name + " " + one.value.textContent).join(", "));
  };
  return { box, draw };
}

function outline(values, y) {
  let text = "";
  let drawing = false;
  values.forEach((value, i) => {
    if (value !== null) {
      const x = KEPT - values.length + i + 1;
      text += drawing ? `L${x} ${y(value).toFixed(2)}` : `M${x} ${y(value).toFixed(2)}h0.01`;
    }
    drawing = value !== null;
  });
  return text;
}

// ---- the first page

function home() {
  const tile = (label, href, title) => {
    const value = h("b", {}, "-");
    const body = [value, h("span", {}, label)];
    const box = href ? h("a", { class: "tile", href, title }, body) : h("div", { class: "tile", title }, body);
    return { box, value, item: h("li", {}, box) };
  };
  const tiles = {
    rate: tile("settled a second", null, "payments that were given their final answer"),
    time: tile("median time", null, "from a payment's acceptance to its final answer"),
    in_doubt: tile("in doubt", "#/list/in_doubt", STATES.in_doubt[2]),
    parked: tile("parked", "#/list/parked", STATES.parked[2]),
    oldest: tile("the oldest doubt", null, "how long the oldest doubt has lasted, parked ones included"),
    requires_action: tile("wait for the payer", "#/list/requires_action", STATES.requires_action[2]),
    processing: tile("processing", "#/list/processing", STATES.processing[2]),
    queue: tile("callers in the queue", null, "callers who wait for the engine, or for a gateway call to be free"),
  };
  const charts = [
    [chart("Payments settled a second", "final answers given", [["succeeded", "good"], ["declined", "doubt"], ["canceled", "soft", true]], rate, LINEAR),
      () => [(s) => s.settled.succeeded + s.settled.authorized, (s) => s.settled.declined, (s) => s.settled.canceled].map(perSecond)],
    [chart("Time to the final answer", "from a payment's acceptance on", [["median", "wait"], ["p99", "doubt", true]], span, DECADES),
      () => [0.5, 0.99].map((share) => quantiles((s) => s.settle, share))],
    [chart("Gateway: time of a sending", "from a call's beginning to its outcome", [["median", "wait"], ["p99", "doubt", true]], span, DECADES),
      () => [0.5, 0.99].map((share) => quantiles(sends, share))],
    [chart("Disk: time of an fsync", "every answer waits for one", [["median", "wait"], ["p99", "doubt", true]], span, DECADES),
      () => [0.5, 0.99].map((share) => quantiles((s) => s.fsync, share))],
  ];
  const attention = h("div", {}, h("p", { class: "soft" }, "Looking."));
  const settled = h("div", {});
  const gateways = h("div", {});
  const journal = h("div", {});
  const feed = h("ul", { class: "feed" });
  const trail = h("div", {}, h("p", { class: "soft" }, "Looking."));
  const controls = controlDesk(() => lookAtTrail(trail));
  const card = (title, body, more) => h("section", { class: "card" }, h("div", { class: "head" }, h("h2", {}, title), more || null), body);
  show("payonce",
    h("h1", { class: "hidden", tabindex: "-1" }, "How payonce stands"),
    h("ul", { class: "tiles" }, Object.values(tiles).map((one) => one.item)),
    card("In doubt, or parked for a person", attention),
    h("div", { class: "grid charts" }, charts.map(([one]) => one.box)),
    h("div", { class: "grid" }, card("Gateways", gateways), card("Journal, store and disk", journal)),
    h("div", { class: "grid" }, controls.box, card("What operators did", trail, h("a", { href: "#/audit", class: "small" }, "all of it"))),
    h("div", { class: "grid" },
      card("Settled since the start", settled, h("a", { href: "#/list/", class: "small" }, "all payments")),
      card("What happens", feed)));

  let looked = 0;
  let stale = true;
  const look = () => {
    looked = performance.now();
    stale = false;
    lookAfter(attention);
  };
  let trailed = performance.now();
  lookAtTrail(trail);
  let told = false;
  const tell = () => {
    told = flooded;
    const why = flooded ? "More happens than can be read: this list goes on in some seconds." : "Nothing since this page was opened.";
    const quiet = flooded || recent.length === 0 ? [h("li", { class: "soft" }, why)] : [];
    feed.replaceChildren(...quiet, ...recent.map(eventLine));
  };
  tell();
  return {
    tick(stats) {
      const unresolved = stats.unresolved;
      tiles.rate.value.textContent = rate(last(perSecond(settledAll)) || 0);
      tiles.time.value.textContent = span(quantiles((s) => s.settle, 0.5).findLast((value) => value !== null));
      for (const state of ["in_doubt", "parked", "requires_action", "processing"]) {
        tiles[state].value.textContent = count(unresolved[state]);
      }
      tiles.oldest.value.textContent = stats.oldest_doubt ? span(stats.oldest_doubt.seconds) : "none";
      tiles.in_doubt.box.classList.toggle("alarm-doubt", unresolved.in_doubt > 0);
      tiles.parked.box.classList.toggle("alarm-bad", unresolved.parked > 0);
      tiles.queue.value.textContent = count(stats.queue.waiting + stats.queue.held);
      if (told !== flooded) tell();
      charts.forEach(([one, rows]) => one.draw(rows()));
      settled.replaceChildren(settledTable(stats));
      gateways.replaceChildren(...stats.gateways.map((gateway) => gatewayBox(gateway, stats.gateways.length > 1)));
      journal.replaceChildren(journalTerms(stats));
      controls.show(stats);
      if (performance.now() - trailed > 60000) { trailed = performance.now(); lookAtTrail(trail); }
      if (performance.now() - looked > (stale ? 1000 : 10000)) look();
    },
    heard() {
      stale = true;
      tell();
    },
    leave() {},
  };
}

async function lookAfter(attention) {
  const lists = await Promise.all(["parked", "in_doubt"].map((state) => ask(`${API.payments}?state=${state}&limit=${SHOWN_ROWS}`)));
  if (!lists.every((list) => list.ok)) return;
  const rows = lists.flatMap((list, i) => list.body.payments.map((payment) => [i === 0 ? "parked" : "in_doubt", payment]));
  const seen = new Set();
  const fresh = rows.filter(([, payment]) => !seen.has(payment.id) && seen.add(payment.id));
  attention.replaceChildren(fresh.length === 0
    ? h("p", { class: "soft" }, "Nothing is in doubt, and nothing waits for a person.")
    : paymentTable(fresh));
}

function deedTable(deeds) {
  const row = (deed) => h("tr", {},
    h("td", { class: "nowrap" }, ago(deed.at)),
    h("td", {}, deed.actor || "somebody", deed.key && deed.key !== deed.actor ? h("span", { class: "soft" }, ` (key ${deed.key})`) : ""),
    h("td", {}, (DEEDS[deed.action] || deed.action) + " ", deed.action === "inquire" ? idLink(deed.target) : deed.target || ""),
    h("td", { class: "reason" }, deed.reason || h("span", { class: "soft" }, "no reason said")));
  return h("div", { class: "scroll" }, h("table", { class: "stacked" },
    h("thead", {}, h("tr", {}, ["When", "Who", "What", "Why"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, deeds.map(row))));
}

async function lookAtTrail(box) {
  const { ok, body } = await ask(`${API.audit}?limit=5`);
  if (!ok) { box.replaceChildren(h("p", { class: "said bad" }, body.detail)); return; }
  box.replaceChildren(body.deeds.length ? deedTable(body.deeds)
    : h("p", { class: "soft" }, body.next === null ? "Nothing yet." : "Nothing of late."));
}

// Every deed of operators, newest first.
function audit() {
  const box = h("div", {}, h("p", { class: "soft" }, "Looking."));
  const more = h("button", { type: "button", hidden: true }, "More");
  const deeds = [];
  let before = null;
  const load = async () => {
    more.disabled = true;
    const { ok, body } = await ask(`${API.audit}?limit=${PAGE}${before === null ? "" : "&before=" + before}`);
    more.disabled = false;
    if (!ok) { box.replaceChildren(h("p", { class: "said bad" }, body.detail)); return; }
    deeds.push(...body.deeds);
    before = body.next;
    more.hidden = before === null;
    box.replaceChildren(deeds.length ? deedTable(deeds) : h("p", { class: "soft" }, before === null ? "Nothing yet." : "Nothing in the part looked at so far."));
  };
  more.addEventListener("click", load);
  show("What operators did",
    h("p", { class: "small" }, h("a", { href: "#/" }, "Overview")),
    h("section", { class: "card" }, h("h1", { tabindex: "-1" }, "What operators did"),
      h("p", { class: "soft" }, "What was decided about a payment is on that payment's own page."), box, h("p", {}, more)));
  load();
  return { tick() {}, leave() {} };
}

// The first page of a key for one tenant: the daemon's numbers are about all of them.
function homeOfOne() {
  const attention = h("div", {}, h("p", { class: "soft" }, "Looking."));
  show("payonce",
    h("h1", { tabindex: "-1" }, "Payments of " + me.tenant),
    h("section", { class: "card" }, h("div", { class: "head" }, h("h2", {}, "In doubt, or parked for a person"),
      h("a", { href: "#/list/", class: "small" }, "all payments")), attention));
  let looked = performance.now();
  lookAfter(attention);
  return {
    tick() {
      if (performance.now() - looked > 10000) { looked = performance.now(); lookAfter(attention); }
    },
    leave() {},
  };
}

function paymentTable(rows) {
  const row = ([state, payment]) => h("tr", {},
    h("td", { class: "nowrap" }, idLink(payment.id), " ", chip(state)),
    h("td", { class: "amount" }, money(payment.amount, payment.currency)),
    h("td", { class: "nowrap" }, ago(payment.created_at)),
    h("td", { class: "reason" }, reason(state, payment)));
  return h("div", { class: "scroll" }, h("table", { class: "stacked" },
    h("thead", {}, h("tr", {}, ["Payment", "Amount", "Asked for", "Why"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map(row))));
}

function reason(state, payment) {
  if (state !== payment.state) return "an operation on it that came later: see its page";
  if (!payment.outcome) return payment.next_action ? "the payer has to act" : "";
  const { code, message } = payment.outcome;
  return [message || STATES[payment.state][2], " ", h("span", { class: "mono soft" }, code)];
}

function eventLine(event) {
  return h("li", {},
    h("span", { class: "when" }, clock(event.at)),
    h("span", { class: "what", title: EVENTS[event.event] || "" }, event.event.replaceAll("_", " ") + (event.operation ? ` (operation ${event.operation})` : "")),
    idLink(event.payment));
}

function settledTable(stats) {
  const rows = Object.entries(stats.settled).map(([state, number]) => h("tr", {},
    h("td", {}, h("a", { href: "#/list/" + state }, chip(state))),
    h("td", { class: "amount" }, count(number)),
    h("td", { class: "soft" }, STATES[state] ? STATES[state][2] : "")));
  const contradicted = stats.facts.contradicted;
  return h("div", {}, h("table", {}, h("tbody", {}, rows)), contradicted === 0 ? null
    : h("p", { class: "said bad" }, `${count(contradicted)} times a gateway has contradicted an answer that was given.`));
}

function health(gateway) {
  if (gateway.paused) return h("span", { class: "chip bad" }, "paused");
  if (gateway.shut) return h("span", { class: "chip bad" }, "does not answer: left alone for a while");
  if (gateway.failing > 0) {
    const why = gateway.last_failure ? ` (${gateway.last_failure})` : "";
    return h("span", { class: "chip " + (gateway.failing > 5 ? "bad" : "doubt") }, `${count(gateway.failing)} in a row not understood${why}`);
  }
  if (gateway.last_heard_seconds === null) return h("span", { class: "chip" }, "not called yet");
  const ago = gateway.last_heard_seconds;
  return h("span", { class: "chip good" }, ago < 10 ? "answers" : "answered " + span(ago) + " ago");
}

function gatewayBox(gateway, many) {
  const rows = Object.entries(gateway.calls).map(([call, { time, outcomes }]) => {
    const some = Object.entries(outcomes).filter(([, number]) => number > 0);
    if (some.length === 0) return null;
    return h("tr", {}, h("td", {}, call),
      h("td", { class: "amount" }, span(quantile(time, 0.5)) + " / " + span(quantile(time, 0.99))),
      h("td", {}, some.map(([name, number]) => `${count(number)} ${name.replaceAll("_", " ")}`).join(", ")));
  }).filter((row) => row !== null);
  return h("div", { class: "gateway" },
    h("div", { class: "head" }, h("h3", {}, many ? gateway.name + ": " : "", gateway.identity), health(gateway)),
    gateway.paused ? h("p", { class: "said bad" }, "Nothing is sent to it, since ", ago(gateway.paused.since), `, by ${gateway.paused.actor}: ${gateway.paused.reason}`) : null,
    h("p", { class: "small" }, gateway.guarantee + "."),
    h("p", { class: "small soft" }, gateway.contract + "."),
    h("p", { class: "small soft" }, `Calls under way: ${count(gateway.calling)} of ${count(gateway.slots)} at the most.`),
    rows.length === 0 ? null : h("div", { class: "scroll calls" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Call", "Median / p99", "Outcomes since the start"].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, rows))));
}

function journalTerms(stats) {
  const { journal, store, fsync } = stats;
  const share = h("meter", { min: 0, max: journal.segment_bytes, value: journal.offset, "aria-label": "how full the segment is" });
  const checkpoint = journal.last_checkpoint;
  return terms([
    ["Last record", "LSN " + count(journal.lsn)],
    ["Segment", [`number ${count(journal.segment)}, `, share, ` ${bytes(journal.offset)} of ${bytes(journal.segment_bytes)}`]],
    ["Checkpoint", checkpoint ? [ago(checkpoint.at), `, up to LSN ${count(checkpoint.lsn)}`] : "none since the start"],
    ["To replay at a start", bytes(journal.since_checkpoint)],
    ["Store", store.lag_records === 0 ? "up to date" : `${count(store.lag_records)} records behind, for ${span(store.lag_seconds)}`],
    ["Payments in memory", count(store.in_memory)],
    ["fsync", `${span(quantile(fsync, 0.5))} in the median, ${span(quantile(fsync, 0.99))} at p99`],
    ["Disk left", journal.disk_free === null ? null : bytes(journal.disk_free)],
    ["Open for", span(stats.uptime_seconds) + ", payonce " + stats.version],
    ["At the start", stats.recovery.join("; ")],
  ]);
}

// ---- lists

function list(state) {
  const known = STATES[state];
  const title = known ? `Payments ${known[1]}` : "All payments";
  const box = h("div", {}, h("p", { class: "soft" }, "Looking."));
  const more = h("button", { type: "button", hidden: true }, "More");
  const rows = [];
  let after = null;
  const choices = [["", "all"], ...Object.entries(STATES).map(([name, [, text]]) => [name, text])];
  const choice = h("select", { id: "state", onchange: (event) => { location.hash = "#/list/" + event.target.value; } },
    choices.map(([name, text]) => h("option", { value: name, selected: name === state }, text)));
  const load = async () => {
    more.disabled = true;
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (state) query.set("state", state);
    if (after) query.set("after", after);
    const { ok, body } = await ask(`${API.payments}?${query}`);
    more.disabled = false;
    if (!ok) { box.replaceChildren(h("p", { class: "said bad" }, body.detail)); return; }
    rows.push(...body.payments.map((payment) => [state || payment.state, payment]));
    after = body.next;
    more.hidden = after === null;
    box.replaceChildren(rows.length ? paymentTable(rows) : h("p", { class: "soft" }, after ? "None among those looked at so far." : "There are none."));
  };
  more.addEventListener("click", load);
  show(title,
    h("p", { class: "small" }, h("a", { href: "#/" }, "Overview")),
    h("section", { class: "card" },
      h("div", { class: "head" }, h("h1", { tabindex: "-1" }, title), h("label", { class: "row small" }, "State ", choice)),
      known ? h("p", { class: "soft" }, spoken(known[2]) + ".") : h("p", { class: "soft" }, "In the order of their ids."), box, h("p", {}, more)));
  load();
  return { tick() {}, leave() {} };
}

async function find(query) {
  const looksLikeId = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(query);
  if (looksLikeId && (await ask(path(API.payment, query))).ok) return query.toLowerCase();
  const { ok, body } = await ask(`${API.payments}?${new URLSearchParams({ idempotency_key: query.replace(/^"(.*)"$/, "$1") })}`);
  if (!ok) return { detail: body.detail };
  return body.payments.length ? body.payments[0].id : { detail: "No payment has this id or this idempotency key." };
}

function search(query) {
  const box = h("p", { role: "status" }, "Looking.");
  show("Search", h("section", { class: "card" }, h("h1", { tabindex: "-1" }, "Looking for ", h("span", { class: "mono" }, query)), box));
  let here = true;
  find(query).then((found) => {
    if (!here) return;
    if (typeof found === "string") location.replace(paymentLink(found));
    else box.textContent = found.detail;
  });
  return { tick() {}, leave() { here = false; } };
}

// ---- one payment

function payment(id) {
  const answers = h("div", { class: "answers", "aria-live": "polite" });
  const facts = h("div", {});
  const operations = h("div", { class: "scroll" });
  const timeline = h("ol", { class: "timeline" });
  const lead = h("p", { class: "soft" }, "Looking.");
  const title = h("h1", { tabindex: "-1" }, "Payment");
  const desk = operatorDesk(id, () => load());
  const body = h("div", { class: "grid", hidden: true },
    h("section", { class: "card" }, h("h2", {}, "What happened"), timeline),
    h("div", {}, h("section", { class: "card" }, h("h2", {}, "What was asked for"), facts)));
  const later = h("section", { class: "card", hidden: true }, h("h2", {}, "Operations"), operations);
  show("Payment " + id.slice(0, 8),
    h("p", { class: "small" }, h("a", { href: "#/" }, "Overview")),
    h("div", {}, title, lead), answers, desk.box, body, later);

  let busy = false;
  let resting = false;
  let last = "";
  async function load() {
    if (busy) return;
    busy = true;
    const [told, next] = await Promise.all([ask(path(API.payment, id)), ask(path(API.outlook, id))]);
    busy = false;
    if (!told.ok || !next.ok) {
      lead.textContent = told.status === 404 ? "No payment has this id." : (told.ok ? next : told).body.detail;
      return;
    }
    resting = next.body.operations.every((operation) => operation.next === "nothing");
    const seen = JSON.stringify([told.body, next.body]);
    if (seen === last) return;
    last = seen;
    title.replaceChildren(money(told.body.amount, told.body.currency), " ", chip(told.body.state));
    lead.replaceChildren(h("span", { class: "mono" }, id));
    const parts = answersFor(told.body, next.body);
    if (answers.dataset.text !== JSON.stringify(parts)) {
      answers.dataset.text = JSON.stringify(parts);
      answers.replaceChildren(...parts.map(answerBox));
    }
    facts.replaceChildren(paymentTerms(told.body));
    operations.replaceChildren(operationTable(told.body, next.body));
    timeline.replaceChildren(...timelineOf(told.body, next.body));
    body.hidden = later.hidden = false;
    desk.show(told.body, next.body);
  }
  load();
  let looked = performance.now();
  return {
    tick() {
      if (performance.now() - looked > (resting ? 15000 : 2000)) { looked = performance.now(); load(); }
    },
    heard(event) {
      if (event.payment === id) load();
    },
    leave() {},
  };
}

const open = (told, state) => told.operations.some((operation) => operation.state === state);

// The three questions of a night: was it charged, how do we know, what happens next.
function answersFor(told, next) {
  return [charged(told, next), known(told, next), ahead(told, next)];
}

function charged(told, next) {
  const question = "Was this customer charged?";
  const first = told.operations[0];
  const paid = money(told.captured, told.currency);
  const back = told.refunded > 0 ? `, and ${money(told.refunded, told.currency)} went back` : "";
  const doubt = open(told, "parked") ? "bad" : open(told, "in_doubt") ? "doubt" : null;
  const proof = proofOf(told, next);
  const against = next.contradicted ? " News contradicts what the caller was told: see below." : "";
  const meaning = proof && byPerson(proof) ? "By a person's word." : spoken(STATES[told.state][2]) + ".";
  if (told.captured > 0) {
    const unsure = doubt ? " A later operation on it is not certain yet." : "";
    return [question, doubt || (next.contradicted ? "bad" : "good"), `Yes: ${paid}${back}`, (byPerson(proof) ? meaning : "The money moved.") + unsure + against];
  }
  if (doubt) return [question, doubt, "Not known yet", "It may or may not have happened. Do not charge by other means, and do not tell the customer yet that it worked, or that it did not."];
  if (told.state === "authorized") return [question, "good", "No, but the amount is set aside", "It moves when it is captured."];
  if (told.state === "declined" || told.state === "canceled") return [question, next.contradicted ? "bad" : "gone", "No", meaning + against];
  if (told.state === "requires_action") return [question, "wait", "No, not yet", "The payer has to act first."];
  if (told.state === "succeeded") return [question, "bad", "No, as the gateway says by now", "Its caller was told that it succeeded." + against];
  const untouched = first && (first.attempts === 0 || next.operations[0].next === "send");
  return untouched
    ? [question, "wait", "No, not yet", "Nothing that was sent so far had any effect."]
    : [question, "wait", "Not known yet", "It is at the gateway right now."];
}

// Money that moved is proven by the charge or the capture; else the last that came counts.
function proofOf(told, next) {
  const moves = (moment) => ["charge", "capture"].includes(told.operations[moment.operation].kind);
  const proofs = next.timeline.filter((moment) => moment.evidence !== null);
  const moved = proofs.findLast((moment) => moves(moment) && /: succeeded/.test(moment.event));
  return (told.captured > 0 && moved) || last(proofs);
}

function known(told, next) {
  const question = "How do we know?";
  const proof = proofOf(told, next);
  if (!proof) return [question, "gone", "From our own journal", "Nothing has come back from the gateway yet."];
  const text = byPerson(proof) ? "A person decided: " + proof.evidence.replace(/^person /, "") : "By " + evidenceOf(proof);
  const reference = told.gateway_reference ? ` The gateway's own name for it is ${told.gateway_reference}.` : "";
  const moment = `${spoken(proof.event)}, ${new Date(proof.at).toLocaleString()}.`;
  if (told.captured === 0 && (open(told, "in_doubt") || open(told, "parked"))) {
    return [question, "gone", "There is no proof yet", `The last that came: ${moment} ${explained(proof)}${reference}`];
  }
  return [question, "gone", text, moment + reference];
}

function ahead(told, next) {
  const question = "What happens next?";
  const todo = next.operations.filter((operation) => operation.next !== "nothing");
  if (todo.length === 0) return [question, "gone", "Nothing", "It is final: whoever repeats its key gets the same answer."];
  const [first] = todo;
  const when = first.at ? (Date.parse(first.at) - Date.now() > 1500 ? ` at ${new Date(first.at).toLocaleTimeString()}` : " any moment now") : "";
  const words = {
    send: "It is sent" + (told.operations[first.number].attempts > 0 ? " again, under the same key," : ""),
    ask: "The gateway is asked",
    await_gateway: "The gateway's answer is awaited",
    await_news: "The gateway's news is awaited",
  };
  const more = todo.length > 1 ? ` ${todo.length - 1} more operations wait too.` : "";
  const why = spoken(first.why) + "." + more;
  if (open(told, "parked")) {
    return [question, "bad", "A person has to decide", why + (first.next === "ask" ? ` Next time${when}.` : "")];
  }
  return [question, "wait", words[first.next] + when, why];
}

function answerBox([question, kind, answer, text]) {
  return h("section", { class: "answer " + kind }, h("h2", {}, question), h("strong", {}, answer), h("p", { class: "small" }, text));
}

function paymentTerms(told) {
  const metadata = Object.entries(told.metadata).map(([name, value]) => `${name}: ${value}`).join(", ");
  return terms([
    ["Amount", `${money(told.amount, told.currency)} (${count(told.amount)} in minor units)`],
    ["From", told.source],
    ["To", told.destination],
    ["Moves", told.capture === "manual" ? "when it is captured" : "at once"],
    ["Description", told.description],
    ["Metadata", metadata],
    told.erased ? ["Personal data", "erased"] : null,
    ["Outcome", told.outcome ? [told.outcome.message, " ", h("span", { class: "mono soft" }, told.outcome.code)] : null],
    ["At the gateway", told.gateway_reference],
    told.next_action ? ["The payer goes to", told.next_action.url] : null,
    ["Asked for", clock(told.created_at, true)],
    ["Answered", told.settled_at ? clock(told.settled_at, true) : "not yet"],
  ]);
}

function operationTable(told, next) {
  const rows = told.operations.map((operation, i) => h("tr", {},
    h("td", { class: "nowrap" }, `${operation.number} ${operation.kind} `, chip(operation.state)),
    h("td", { class: "amount" }, money(operation.amount, told.currency)),
    h("td", { class: "nowrap" }, count(operation.attempts), h("span", { class: "phone" }, operation.attempts === 1 ? " attempt" : " attempts")),
    h("td", {}, next.operations[i] ? next.operations[i].gateway : ""),
    h("td", { class: "mono" }, operation.gateway_reference || operation.key)));
  return h("table", { class: "stacked" },
    h("thead", {}, h("tr", {}, ["Operation", "Amount", "Attempts", "Gateway", "Its name there"].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows));
}

const byPerson = (moment) => moment.evidence !== null && moment.evidence.startsWith("person");

function evidenceOf(moment) {
  if (byPerson(moment)) return moment.evidence;
  const instead = moment.evidence === "reply" && /: (unknown|not_found)/.test(moment.event);
  return instead ? "what came in place of a reply" : EVIDENCE[moment.evidence] || moment.evidence;
}

function explained(moment) {
  const [name, outcome] = moment.event.split(/: ?/);
  if (byPerson(moment)) return "A person said so.";
  return (outcome && OUTCOMES[outcome.split(" ")[0]]) || EVENTS[name] || "";
}

function timelineOf(told, next) {
  const many = told.operations.length > 1;
  const moments = next.timeline.map((moment) => {
    const evidence = moment.evidence === null ? null : "Evidence: " + evidenceOf(moment) + ".";
    return h("li", { class: toneOf(moment.event) },
      h("p", { class: "when" }, clock(moment.at, true), many ? `, operation ${moment.operation} (${told.operations[moment.operation].kind})` : ""),
      h("p", {}, h("strong", {}, spoken(moment.event))),
      h("p", { class: "small" }, explained(moment)),
      evidence ? h("p", { class: "small soft" }, evidence) : null);
  });
  const todo = next.operations.filter((operation) => operation.next !== "nothing").map((operation) => h("li", { class: "next" },
    h("p", { class: "when" }, operation.at ? [ago(operation.at)] : "next", many ? `, operation ${operation.number}` : ""),
    h("p", {}, h("strong", {}, "Next: " + { send: "send", ask: "ask the gateway", await_gateway: "the gateway's answer", await_news: "news, or a person" }[operation.next])),
    h("p", { class: "small" }, spoken(operation.why) + ".")));
  return [...moments, ...todo];
}

function toneOf(event) {
  if (/: succeeded/.test(event)) return "good";
  if (/^(parked|contradicted)/.test(event)) return "bad";
  if (/: (unknown|not_found)/.test(event)) return "doubt";
  return /^attempt_started|: pending/.test(event) ? "wait" : "";
}

// ---- what an operator does

const VERDICTS = {
  succeeded: "It happened: the gateway's statement, or its own dashboard, shows it.",
  declined: "It did not happen, and will not: the gateway's statement shows that it was decided against.",
  resend: "Send the same bytes again under the same key. Refused where money could move twice.",
  canceled: "Give it up. Accepted only of what certainly has not happened.",
};

function operatorDesk(id, changed) {
  const said = h("p", { class: "said", role: "status" });
  const say = (kind, text) => { said.className = "said " + kind; said.textContent = text; };
  const inquire = h("button", { type: "button" }, "Ask the gateway now");
  const meaning = h("span", { id: "meaning" }, "");
  const field = (name, label, more) => {
    const input = h("input", { name, id: "field-" + name, autocomplete: "off", ...more });
    return { input, label: h("label", { for: "field-" + name }, label, input) };
  };
  const verdict = h("select", { name: "as", id: "field-as", required: true, "aria-describedby": "meaning" },
    h("option", { value: "" }, "choose"), Object.keys(VERDICTS).map((name) => h("option", { value: name }, name)));
  const operation = h("select", { name: "operation", id: "field-operation" });
  const operationLabel = h("label", { for: "field-operation" }, "Operation", operation);
  const actor = field("actor", "Who decides", { required: true, maxlength: 255 });
  const why = field("reason", "Why: what did you look at?", { required: true, maxlength: 1000 });
  const reference = field("gateway_reference", "The gateway's name for it, if it has one", { maxlength: 255 });
  const send = h("button", { class: "strong", type: "submit" }, "Record this decision");
  const form = h("form", { class: "operate" },
    h("div", { class: "fields" },
      h("label", { for: "field-as" }, "Decide that it is", verdict, meaning), operationLabel, actor.label, reference.label,
      h("div", { class: "wide" }, why.label)),
    h("div", { class: "row" }, send, h("span", { class: "small soft" }, "It is kept with the payment for ever, with your name.")));
  const details = h("details", {}, h("summary", {}, "Resolve by a person's word"), form);
  const box = h("section", { class: "card operate", hidden: true },
    h("h2", {}, "For the operator"), h("div", { class: "row" }, inquire, said),
    details);

  verdict.addEventListener("change", () => { meaning.textContent = VERDICTS[verdict.value] || ""; });
  inquire.addEventListener("click", async () => {
    inquire.disabled = true;
    const { ok, body } = await ask(path(API.inquire, id), { method: "POST" });
    inquire.disabled = false;
    say(ok ? "good" : "bad", ok ? "The gateway is being asked." : body.detail);
    changed();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const decision = { as: verdict.value, actor: actor.input.value, reason: why.input.value };
    if (!operationLabel.hidden) decision.operation = Number(operation.value);
    if (reference.input.value) decision.gateway_reference = reference.input.value;
    send.disabled = true;
    const { ok, body } = await ask(path(API.resolve, id), {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(decision),
    });
    send.disabled = false;
    say(ok ? "good" : "bad", ok ? "Recorded." : body.detail);
    if (ok) form.reset();
    changed();
  });

  const show = (told) => {
    const unsettled = told.operations.filter((one) => ["processing", "requires_action", "in_doubt", "parked"].includes(one.state));
    box.hidden = !me || me.role !== "operator" || (unsettled.length === 0 && said.textContent === "");
    inquire.hidden = details.hidden = unsettled.length === 0;
    if (unsettled.length === 0 && said.textContent !== "") say("good", "It is settled.");
    const numbers = unsettled.map((one) => String(one.number)).join();
    if (operation.dataset.numbers !== numbers) {
      operation.dataset.numbers = numbers;
      operation.replaceChildren(...unsettled.map((one) => h("option", { value: one.number }, `${one.number} ${one.kind}`)));
    }
    operationLabel.hidden = unsettled.length < 2;
  };
  return { box, show };
}

// Asks who does it and why, and does it only then.
function askWhy(title, text, verb, act) {
  const field = (name, label, max) => {
    const input = h("input", { name, id: "deed-" + name, autocomplete: "off", required: true, maxlength: max });
    return { input, label: h("label", { for: "deed-" + name }, label, input) };
  };
  const [actor, why] = [field("actor", "Who does it", 255), field("reason", "Why", 1000)];
  const said = h("p", { class: "said bad", role: "status" });
  const send = h("button", { class: "strong", type: "submit" }, verb);
  const cancel = h("button", { type: "button" }, "Cancel");
  const form = h("form", { class: "operate" },
    h("h2", { id: "deed-title" }, title), h("p", {}, text), h("div", { class: "fields" }, actor.label, why.label),
    h("div", { class: "row" }, send, cancel, h("span", { class: "small soft" }, "It is kept for ever, with your name.")), said);
  const dialog = h("dialog", { class: "card", "aria-labelledby": "deed-title" }, form);
  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    const { ok, body } = await act({ actor: actor.input.value, reason: why.input.value });
    send.disabled = false;
    if (ok) dialog.close();
    else said.textContent = body.detail;
  });
  document.body.append(dialog);
  dialog.showModal();
  actor.input.focus();
}

// Pausing and draining. Its buttons stay where they are while the numbers around them change: somebody may be on one.
function controlDesk(changed) {
  const rows = new Map();
  const list = h("div", { class: "controls" });
  const box = h("section", { class: "card", hidden: true }, h("h2", {}, "For the operator"), list);
  const act = (url, method) => async (person) => {
    const told = await ask(url, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(person) });
    if (told.ok) { await read(); changed(); }
    return told;
  };
  const control = (name) => {
    const state = h("span", { class: "chip" }, "");
    const button = h("button", { type: "button" }, "");
    const row = h("div", { class: "row" }, h("strong", {}, name), state, button);
    list.append(row);
    return { row, state, button };
  };
  const set = (name, kind, text, verb, press) => {
    if (!rows.has(name)) rows.set(name, control(name));
    const { state, button } = rows.get(name);
    state.className = "chip " + kind;
    if (state.textContent !== text) state.textContent = text;
    if (button.textContent !== verb) {
      button.textContent = verb;
      button.setAttribute("aria-label", `${verb}: ${name}`);
    }
    button.onclick = press;
  };
  const show = (stats) => {
    box.hidden = !me || me.role !== "operator";
    const draining = stats.troubles.includes("draining");
    set("The daemon", draining ? "bad" : "good", draining ? "drains" : "takes payments", draining ? "Take payments again" : "Drain", () => (draining
      ? askWhy("Take payments again?", "New payments are taken from then on.", "Take payments", act(API.drain, "DELETE"))
      : askWhy("Drain payonce?", "New payments, captures, voids and refunds are refused until this is ended or payonce is started again. What is under way goes on to its end.", "Drain", act(API.drain, "POST"))));
    for (const { name, paused } of stats.gateways) {
      set("Gateway " + name, paused ? "bad" : "good", paused ? "paused" : "sent to", paused ? "Resume" : "Pause", () => (paused
        ? askWhy(`Resume gateway ${name}?`, "What waits for it goes out, and new payments go to it again.", "Resume", act(path(API.resume, name), "POST"))
        : askWhy(`Pause gateway ${name}?`, "Nothing is sent to it that was not sent before, until this is ended. What became of that is still asked. New payments go to another gateway that is for them, or are refused.", "Pause", act(path(API.pause, name), "POST"))));
    }
  };
  return { box, show };
}

// ---- who we are

function login(said) {
  live("off", "no key");
  const input = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const told = h("p", { class: "said bad", role: "status" }, said || "");
  const send = h("button", { class: "strong", type: "submit" }, "Go on");
  const form = h("form", { class: "operate" },
    h("div", { class: "fields" }, h("label", { for: "key" }, "API key", input)), h("div", { class: "row" }, send, told));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    secret = input.value.trim();
    send.disabled = true;
    const { ok, body } = await introduce();
    send.disabled = false;
    if (!ok) { secret = null; told.textContent = body.detail; return; }
    kept("setItem", secret);
    route();
  });
  show("API key", h("section", { class: "card" }, h("h1", { tabindex: "-1" }, "An API key is needed"),
    h("p", { class: "soft" }, "One with the role read-only is enough to look. It is kept until this tab is closed."), form));
  input.focus();
  return { tick() {}, leave() {} };
}

function signOut(said) {
  me = secret = null;
  kept("removeItem");
  samples.length = recent.length = 0;
  banner([]);
  byId("leave").hidden = true;
  view.leave();
  view = login(said);
}

async function introduce() {
  const told = await ask(API.key);
  if (told.ok) {
    me = told.body;
    byId("leave").hidden = me.name === null;
    byId("leave").title = `${me.name}: ${me.role}, tenant ${me.tenant}`;
  }
  return told;
}

// ---- where we are

function show(title, ...parts) {
  document.title = title === "payonce" ? title : title + " - payonce";
  byId("view").replaceChildren(...parts.filter((part) => part !== null));
}

function route(first) {
  view.leave();
  if (!me) { view = login(""); return; }
  const [, place, rest] = /^#\/([a-z]*)\/?(.*)$/.exec(location.hash) || [null, "", ""];
  let name = "";
  try { name = decodeURIComponent(rest); } catch { name = rest; }
  const places = { payment, list, search, audit };
  view = place in places && (name || place === "list" || place === "audit") ? places[place](name) : me.whole ? home() : homeOfOne();
  const newest = last(samples);
  if (newest) view.tick(newest.stats);
  if (first !== true) {
    const heading = byId("view").querySelector("h1");
    if (heading) heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = byId("query").value.trim();
  if (query) location.hash = "#/search/" + encodeURIComponent(query);
});

byId("leave").addEventListener("click", () => signOut(""));

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause this view";
  live(paused ? "" : "on", paused ? "paused" : "live");
});

addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    byId("query").focus();
  }
});

async function begin() {
  for (;;) {
    const { ok, status, body } = await introduce();
    if (ok || status === 401) { route(true); break; }
    live("off", status === 0 ? "no answer" : body.detail);
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
  addEventListener("hashchange", route);
  beat();
  follow();
}
begin();
