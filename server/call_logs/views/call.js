// One call: what happened on one axis of time, and what was said.

const PROMISES = "call-logs/promises";
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const MOST_TICKS = 5;
const LONG = 100; // turns; beyond, the browser draws only those in sight
const SPEAKERS = { agent: "Agent", customer: "Customer", system: "System", unknown: "Speaker not told" };

const ordinal = (count) =>
  `${count}${(Math.floor((count % 100) / 10) === 1 ? null : { 1: "st", 2: "nd", 3: "rd" }[count % 10]) || "th"}`;
const kindOf = (promise) => (promise.kind === "other" ? "call back" : words(promise.kind ?? "of an unknown kind"));

const happened = (call, turns, promises) => {
  const at = new Map(turns.filter((turn) => number(turn.offset_seconds) !== null).map((turn) => [turn.n, turn.offset_seconds]));
  const spoken = new Map(turns.map((turn) => [turn.n, turn.text]));
  const placed = (one) => number(one.offset_seconds) ?? at.get(one.turn) ?? null;
  const kept = list(promises.promised_not_executed).map((one) => [one, true]);
  const open = list(promises.promised).map((one) => [one, false]);
  const events = list(call.actions).map(table).filter((one) => one.kind !== "end").map((one) => ({
    at: placed(one), turn: one.turn, shape: "◆", kind: "", what: said(upper(words(one.kind))),
    more: [given(one.name) ? said(one.name) : "", ...Object.entries(table(one.details))
      .filter(([name, value]) => !name.endsWith("_id") && typeof value !== "boolean")
      .map(([name, value]) => (name === "text" || name === "said" ? (spoken.get(one.turn) === value ? null : said(`“${value}”`))
        : el("span", { class: "said small quiet", dir: "auto" }, `${words(name)}: ${value}`)))],
    brief: `${words(one.kind)} executed`,
  }));
  for (const [one, broken] of [...kept, ...open]) {
    const promise = table(one);
    const claimed = promise.claimed ? "Claimed as done" : "Promised";
    events.push({
      at: placed(promise), turn: promise.turn, shape: broken ? "▲" : "△", kind: broken ? "warn" : "quiet", broken,
      what: [claimed, broken ? ", not executed: " : ": ", said(kindOf(promise)), broken ? "" : "; whether it was done cannot be told"],
      more: [given(promise.text) ? said(`“${promise.text}”`) : ""],
      brief: `${claimed.toLowerCase()}, ${broken ? "not executed" : "unknown whether done"}: ${kindOf(promise)}`, text: promise.text,
    });
  }
  const over = !GOING_ON.includes(call.status);
  const ending = list(call.actions).map(table).filter((one) => one.kind === "end").pop();
  const from = call.answered_at || call.started_at;
  const ended = given(call.ended_at) ? secondsBetween(from, call.ended_at) : number(call.duration_seconds) ?? (ending ? placed(ending) : null);
  const why = [given(call.end_reason) ? said(call.end_reason) : ending && given(ending.name) ? said(words(ending.name)) : "",
    given(call.sip_status_code) ? said(`SIP ${call.sip_status_code}`) : ""].filter(Boolean);
  if (over) events.push({ at: ended, turn: null, shape: "■", kind: "end", last: true, brief: "end of the call",
    what: ["Ended", given(call.status) && call.status !== "unknown" ? [", ", said(words(call.status))] : ", status not told"],
    more: why.length ? why : [unknown("no reason told")] });
  const order = (one) => one.at ?? (one.last ? Infinity : at.get(one.turn) ?? Infinity);
  events.sort((one, other) => order(one) - order(other) || Number(Boolean(one.last)) - Number(Boolean(other.last)));
  return { events, ended: over ? ended : null, over };
};

const lanes = (turns, events, ended, jump) => {
  const timed = turns.filter((turn) => number(turn.offset_seconds) !== null);
  const lastSaid = timed.reduce((most, turn) => Math.max(most, turn.offset_seconds), 0);
  const core = Math.max(ended ?? 0, lastSaid);
  // What happened long after the call stands at the edge; its time is in the list.
  const end = events.reduce((most, one) => (one.at !== null && one.at <= core * 1.2 ? Math.max(most, one.at) : most), core) * 1.005;
  if (!end) return null;
  const place = (seconds) => Math.min(100, Math.max(0, (100 * seconds) / end));
  const lane = (name, kind) => {
    const shapes = [];
    timed.forEach((turn, index) => {
      if (turn.speaker !== kind) return;
      const until = index + 1 < timed.length ? timed[index + 1].offset_seconds : ended ?? end;
      const left = 10 * place(turn.offset_seconds);
      const wide = Math.max(2, 10 * place(until) - left - 1);
      shapes.push(`M${left.toFixed(1)} 3h${wide.toFixed(1)}v14h-${wide.toFixed(1)}z`);
    });
    if (!shapes.length) return null;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 1000 20");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", shapes.join(""));
    svg.append(path);
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect();
      const seconds = ((event.clientX - box.left) / box.width) * end;
      const own = timed.filter((turn) => turn.speaker === kind && turn.offset_seconds <= seconds);
      jump((own.pop() || timed.find((turn) => turn.speaker === kind)).n);
    });
    return el("div", { class: "lane" }, el("span", { class: "name" }, name),
      el("div", { class: `track ${kind}` }, el("span", { class: "rest" }), svg));
  };
  const step = STEPS.find((seconds) => end / seconds <= MOST_TICKS) || end / MOST_TICKS;
  const ticks = [];
  for (let seconds = 0; seconds <= end; seconds += step) {
    const tick = el("span", { class: `tick${place(seconds) > 95 ? " last" : ""}` }, clock(seconds));
    tick.style.left = `${place(seconds)}%`;
    ticks.push(tick);
  }
  const marks = events.filter((one) => one.at !== null).map((one) => {
    const mark = el("span", { class: `mark ${one.kind}`, title: `${clock(one.at)} ${plain(one.brief)}`, click: () => given(one.turn) && jump(one.turn) }, one.shape);
    mark.style.left = `${place(one.at)}%`;
    return mark;
  });
  const spoke = ["agent", "customer"].map((kind) => [kind, timed.filter((turn) => turn.speaker === kind).length]);
  const described = `Timeline of ${clock(end)}: ${spoke.map(([kind, turns]) => `${plural(turns, "turn")} of the ${kind}`).join(", ")}; ` +
    events.map((one) => (one.at === null ? "" : `${plain(one.brief)} at ${clock(one.at)}`)).filter(Boolean).join("; ");
  return el("figure", { class: "line" },
    el("div", { role: "img", "aria-label": described },
      lane("Agent", "agent"), lane("Customer", "customer"), timed.some((turn) => turn.speaker === "unknown") ? lane("Speaker?", "unknown") : null,
      marks.length ? el("div", { class: "lane" }, el("span", { class: "name" }, "Events"), el("div", { class: "track marks" }, marks)) : null,
      el("div", { class: "lane" }, el("span", { class: "name" }), el("div", { class: "track axis" }, ticks))),
    el("figcaption", {}, timed.length ? "A bar runs until the next turn begins. " : "The times of the turns are not told. ",
      timed.length && timed.length < turns.length ? `${plural(turns.length - timed.length, "turn")} without a time ${turns.length - timed.length === 1 ? "is" : "are"} not drawn. ` : "",
      [["◆", "executed"], ["▲", "promised, not executed"], ["△", "promised, unknown whether done"], ["■", "end"]]
        .filter(([shape]) => events.some((one) => one.shape === shape && one.at !== null)).map(([shape, what]) => el("span", { class: "legend" }, `${shape} ${what}`))));
};

const marked = (text, sentences) => {
  // The promise's own words within its turn, as text between text.
  for (const sentence of sentences) {
    const at = given(sentence) ? text.indexOf(sentence) : -1;
    if (at >= 0) return [text.slice(0, at), el("mark", {}, sentence), text.slice(at + sentence.length)];
  }
  return [text];
};

const turnOf = (turn, events, hit) => {
  const own = events.filter((one) => one.turn === turn.n);
  const speaker = Object.hasOwn(SPEAKERS, turn.speaker) ? turn.speaker : "unknown";
  return el("li", { class: `turn ${speaker}`, id: `turn-${Number(turn.n)}`, tabindex: "-1", "aria-current": turn.n === hit ? "true" : null },
    el("span", { class: "at" }, number(turn.offset_seconds) === null ? unseen("time not told") : clock(turn.offset_seconds)),
    el("div", {}, el("span", { class: "who" }, SPEAKERS[speaker], el("span", { class: "quiet" }, ` ${Number(turn.n)}`)),
      el("span", { class: "said", dir: "auto" }, marked(String(turn.text ?? ""), own.filter((one) => one.broken !== undefined).map((one) => one.text))),
      turn.cut ? el("span", { class: "quiet small" }, "The rest of this turn is left out.") : null,
      own.length ? el("div", { class: "done" }, own.map((one) =>
        el("span", { class: one.broken ? "warn" : "" }, sign(one.shape, one.kind), " ", said(upper(one.brief))))) : null));
};

const rowLine = (row) => el("li", {}, given(row.started_at) ? when(row.started_at) : unknown(), " · ", lasted(row.duration_seconds), " · ",
  status(row.status), given(row.agent) ? [" · ", said(row.agent)] : "", el("div", { class: "mono quiet" }, said(row.id)));

const showCall = (answer, asked, meta) => {
  const call = table(answer.call);
  const turns = list(answer.turns).map(table);
  const promises = meta[PROMISES];
  const { events, ended, over } = happened(call, turns, table(promises));
  const hit = number(table(asked).around);
  const customer = customerOf(call);
  document.title = given(customer) ? `Call with ${plain(customer)}` : "A call";

  const jump = (n) => {
    const turn = document.getElementById(`turn-${n}`);
    if (!turn) return;
    turn.scrollIntoView({ block: "center" });
    turn.focus({ preventScroll: true });
  };
  const there = new Set(turns.map((turn) => turn.n));

  const head = el("header", { class: "head" },
    el("p", { class: "small quiet over" }, "Call of ", told(call.account), call.is_test ? " · test call" : "", given(call.parent_id) ? [" · leg of ", said(call.parent_id)] : ""),
    el("h1", {}, told(customer, "Customer’s number not told"), el("span", { class: "quiet" }, " with "), told(call.agent_name || call.agent_id, "an agent that is not told")),
    el("p", { class: "inline" }, [when(call.started_at), lasted(call.duration_seconds), el("span", {}, status(call.status)), direction(call)]
      .map((one) => el("span", {}, one))));

  const unknowns = [];
  if (promises === undefined) unknowns.push("Promises were not compared with actions in this answer; summarize_call_actions tells.");
  else if (promises.actions_reported === false) unknowns.push("This vendor reports no actions: whether what was promised was done cannot be told.");
  else if (!answer.total_turns) unknowns.push("Without a transcript, promises cannot be compared with what was done.");
  else if (!list(promises.promised_not_executed).length) unknowns.push("No promise of a message, booking, transfer or call back was recognised that was not kept.");
  if (!over) unknowns.push("The call was going on when it was read.");

  const doing = section(2, "What happened", lanes(turns, events, ended, jump),
    events.length ? el("ol", { class: "events" }, events.map((one) => el("li", { class: one.broken ? "broken" : null },
      sign(one.shape, one.kind === "end" ? "" : one.kind),
      el("span", { class: "quiet" }, one.at === null ? unseen("time not told") : one.at < 0 ? "before" : clock(one.at)),
      el("div", {}, el("span", { class: "what" }, one.what), " ", one.more),
      there.has(one.turn) ? el("button", { class: "go", type: "button", click: () => jump(one.turn) }, "Turn ", said(one.turn))
        : given(one.turn) ? el("span", { class: "quiet small" }, "turn ", said(one.turn)) : null))) : null,
    unknowns.map((line) => el("p", { class: "note" }, line)));

  const [first, latest, total] = [turns[0]?.n, turns[turns.length - 1]?.n, number(answer.total_turns)];
  const part = !turns.length ? null : turns.length === total ? plural(total, "turn") : `Turns ${first}–${latest} of ${total ?? "an unknown number"}`;
  const spoken = el("section", { class: "spoken", "aria-label": "Transcript" }, heading(2, "Transcript"),
    part ? el("p", { class: "note" }, part, given(answer.next_turns) ? ["; turns ", said(answer.next_turns), " go on"] : "", call.speakers_parsed
      ? ". Who spoke was told apart by words in one text: a caller could have imitated the agent" : "",
      turns.some((turn) => number(turn.offset_seconds) !== null) ? "" : ". The times of the turns are not told", ".") : null,
    turns.length ? el("ol", { class: turns.length > LONG ? "turns long" : "turns", tabindex: "0", role: "list", "aria-label": "Turns" }, turns.map((turn) => turnOf(turn, events, hit)))
      : el("p", {}, unknown(total ? `None of the ${plural(total, "turn")} is in this answer.` : "No transcript."),
        table(table(answer.coverage).missing_transcripts).reasons ? el("span", { class: "quiet" }, " ", said(Object.keys(answer.coverage.missing_transcripts.reasons).join("; "))) : ""));

  const before = table(answer.earlier_calls);
  const later = table(answer.later_calls);
  const nth = number(before.nth) && number(before.days) ? `${ordinal(before.nth)} call in ${plural(before.days, "day")}. ` : "";
  const earlier = number(before.total) ? section(2, "Same customer",
    el("p", { class: "small" }, nth, `${plural(before.total, "earlier call")}`, number(later.total) ? `, ${plural(later.total, "later call")}` : "", "."),
    el("ul", { class: "small rows" }, list(before.latest).map(table).map(rowLine)))
    : number(later.total) ? section(2, "Same customer", el("p", { class: "small" }, `${plural(later.total, "later call")}.`),
      el("ul", { class: "small rows" }, list(later.next).map(table).map(rowLine))) : null;
  const extracted = Object.entries(table(call.extracted));
  const beside = el("div", { class: "beside" },
    given(call.summary) ? section(2, "Vendor’s summary", el("blockquote", { class: "said", dir: "auto" }, call.summary)) : null,
    extracted.length ? section(2, "Extracted values", facts(extracted.map(([name, value]) => [said(words(name)), said(value)]))) : null,
    list(answer.legs).length ? section(2, "Legs", el("ul", { class: "small rows" }, answer.legs.map(table).map(rowLine))) : null,
    earlier,
    section(2, "Details", facts([
      ["From", told(call.from_number)], ["To", told(call.to_number)], ["Agent", told(call.agent_name || call.agent_id)],
      ["Vendor", told(call.provider)], ["Vendor’s status", given(call.vendor_status) ? said(call.vendor_status) : ""],
      ["Ringing", given(call.ringing_at) ? when(call.ringing_at) : ""], ["Answered", given(call.answered_at) ? when(call.answered_at) : ""],
      ["Ended", over ? when(call.ended_at) : ""],
      ["Recording", call.has_recording === true ? "yes" : call.has_recording === false ? "no" : unknown()],
      ["Cost", given(call.cost) ? said(`${call.cost} ${call.currency || ""}`.trim()) : ""],
      ["Id", el("span", { class: "mono" }, told(call.id))]])));
  const seen = coverage(answer.coverage);
  seen.classList.add("wide");
  doing.classList.add("wide");
  const whole = isWhole(answer.coverage);
  if (hit !== null) {
    document.getElementById("main").addEventListener("shown", () => document.getElementById(`turn-${hit}`)?.scrollIntoView({ block: "center" }), { once: true });
  }
  return el("article", { class: "call" }, head, whole ? null : seen, doing, spoken, beside, whole ? seen : null);
};
