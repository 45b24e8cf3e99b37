"use strict";
// What all views share. Whatever comes from an answer becomes a text node: no markup is ever read from it, no attribute
// that could load, link or run takes it.

const el = (name, given, ...inside) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") made.addEventListener(key, value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...inside.flat(2).filter((one) => one !== null && one !== undefined && one !== false && one !== ""));
  return made;
};

const given = (value) => value !== undefined && value !== null && value !== "";
const list = (value) => (Array.isArray(value) ? value : []);
const table = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

// Text of others, in a direction of its own: it cannot turn round what stands beside it.
const said = (value, name = "span") => el(name, { class: "said", dir: "auto" }, String(value));
// Where only a string can stand (an option, a title): what turns directions round is taken out, the rest is set apart.
const plain = (value) => `\u2068${String(value).replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "")}\u2069`;
const unknown = (words = "not told") => el("span", { class: "unknown" }, words);
const told = (value, words) => (given(value) ? said(value) : unknown(words));
const sign = (shape, kind) => el("i", { class: `sign${kind ? ` ${kind}` : ""}`, "aria-hidden": "true" }, shape);
const unseen = (words) => el("span", { class: "unseen" }, words);
const plural = (count, thing) => `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
const words = (value) => String(value).replaceAll("_", " ");
const upper = (value) => String(value).charAt(0).toUpperCase() + String(value).slice(1);

// Seconds as on a player: 3:04, 1:02:03.
const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
};
const lasted = (seconds, without = "length not told") => (number(seconds) === null ? unknown(without) : clock(seconds));

// A moment as it stands in the answer, on the clock of the configured zone: never on this browser's.
const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const dated = (day) => {
  const found = /^(\d{4})-(\d\d)-(\d\d)$/.exec(day);
  const month = found && MONTHS[found[2] - 1];
  if (!month) return null;
  const weekday = WEEKDAYS[new Date(Date.UTC(+found[1], found[2] - 1, +found[3])).getUTCDay()];
  return { weekday, short: `${month} ${+found[3]}`, year: found[1], full: `${weekday.slice(0, 3)}, ${month} ${+found[3]}, ${found[1]}` };
};
const moment = (stamp) => {
  const found = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?$/.exec(String(stamp));
  const date = found && dated(found[1]);
  return date ? { ...date, day: found[1], time: found[2], offset: found[3] === "Z" ? "+00:00" : found[3] || "" } : null;
};
const when = (stamp) => {
  const at = given(stamp) ? moment(stamp) : null;
  return at ? `${at.full}, ${at.time} ${at.offset}`.trim() : told(stamp, "time not told");
};
const secondsBetween = (from, to) => {
  const seconds = (Date.parse(to) - Date.parse(from)) / 1000;
  return Number.isFinite(seconds) ? seconds : null;
};

const customerOf = (call) =>
  call.direction === "outbound" ? call.to_number
    : call.direction === "unknown" || !given(call.direction) ? call.from_number || call.to_number
      : call.from_number;
const direction = (call) =>
  ({ inbound: "Inbound", outbound: "Outbound", web: "Web call" })[call.direction] || unknown("direction not told");
const GOING_ON = ["queued", "ringing", "in_progress"];
const status = (value) => {
  const known = given(value) && value !== "unknown";
  const kind = !known ? ["?", "quiet"] : value === "completed" ? ["●", ""] : GOING_ON.includes(value) ? ["◐", ""] : ["✕", "quiet"];
  return [sign(...kind), known ? said(upper(words(value))) : unknown("status not told")];
};

const heading = (level, text) => el(`h${level}`, {}, text);
const section = (level, title, ...inside) => el("section", { "aria-label": title }, heading(level, title), ...inside);
const facts = (pairs) =>
  el("dl", { class: "facts" }, pairs.filter(([, value]) => given(value)).map(([name, value]) =>
    [el("dt", {}, name), el("dd", {}, value)]));

// What the answer could and could not see. It stands first where it is not complete.
const coverage = (told) => {
  const seen = table(told);
  const known = typeof seen.complete === "boolean";
  const accounts = list(seen.accounts).map(table);
  const lines = [];
  const head = given(seen.as_of) ? ["As of ", when(seen.as_of)] : ["Nothing was read yet"];
  if (!known) lines.push("How complete this answer is was not told.");
  else lines.push([...head, ": ", el("strong", {}, seen.complete ? "complete" : "INCOMPLETE"), seen.syncing ? ", and still reading" : "", "."]);
  for (const one of accounts) {
    const named = given(one.problem) && given(one.account) && String(one.problem).startsWith(one.account);
    const none = one.account === "none";
    lines.push([none || named ? "" : [said(one.account), " is ", said(words(one.state || "not well")), ": "],
      given(one.problem) ? [said(one.problem), " "] : "", given(one.next_step) ? [said(one.next_step), " "] : "",
      given(one.last_synced_at) ? ["Last read ", when(one.last_synced_at), "."] : ""]);
  }
  if (given(seen.history_since)) lines.push(["History from ", said(String(seen.history_since).slice(0, 10)), " on."]);
  const missing = table(seen.missing_transcripts);
  if (number(missing.count)) {
    const why = Object.entries(table(missing.reasons)).map(([reason, calls]) => `${calls} ${reason}`).join("; ");
    lines.push([`${plural(missing.count, "call")} without a transcript`, why ? [": ", said(why)] : "", "."]);
  }
  const accountsOf = (names) => said(list(names).join(", "));
  if (list(seen.actions_not_reported_by).length)
    lines.push(["Actions are not reported by the vendors of ", accountsOf(seen.actions_not_reported_by), ": none shown means unknown there."]);
  if (number(seen.may_have_done_so))
    lines.push(`Webhook or custom actions of ${plural(seen.may_have_done_so, "call")} may have done so too.`);
  if (number(seen.unknown_direction))
    lines.push([`${plural(seen.unknown_direction, "call")} of unknown direction left out`,
      list(seen.direction_not_told_by).length ? [" (not told by ", accountsOf(seen.direction_not_told_by), ")"] : "", "."]);
  if (list(seen.agent_not_told_by).length)
    lines.push(["Calls of ", accountsOf(seen.agent_not_told_by), " name no agent."]);
  const whole = known && seen.complete;
  return el("section", { class: `coverage${whole ? "" : " incomplete"}`, "aria-label": "Coverage" },
    el("ul", {}, lines.map((line) => el("li", {}, line))));
};
const isWhole = (told) => table(told).complete === true;

const windowed = (asked) => {
  const window = table(asked);
  const zone = given(window.zone) ? [" (", said(window.zone), ")"] : "";
  if (!given(window.since) && !given(window.until)) return el("span", {}, "At any time", zone);
  return el("span", {}, "From ", given(window.since) ? when(window.since) : "the first call", " until ",
    given(window.until) ? when(window.until) : "now", zone);
};
const filtered = (asked) => {
  const named = Object.entries(table(asked)).filter(([name]) => !["since", "until"].includes(name));
  return named.length ? el("p", { class: "small quiet" }, "Only ", said(named.map(([name, value]) => `${words(name)}: ${value}`).join(", "))) : null;
};
