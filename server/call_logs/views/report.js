// A window at a glance, as a file: how many, what was promised and not done, and the calls.

const promiseLine = (one) => el("li", { class: "promise" },
  el("p", {}, sign("▲", "warn"), el("strong", { class: "warn" }, one.claimed ? " Claimed as done: " : " Promised: ", said(one.kind === "other" ? "call back" : words(one.kind ?? "of an unknown kind"))),
    " · ", told(one.customer_number, "number not told"), " · ", told(one.agent, "agent not told"), given(one.citation) ? [" · ", said(String(one.citation).split(" · ").slice(1).join(" · "))] : "",
    given(one.turn) ? [" · turn ", said(one.turn)] : ""),
  el("blockquote", { class: "said", dir: "auto" }, String(one.text ?? "")), el("p", { class: "mono quiet" }, said(one.call_id)));

const showReport = (answer) => {
  const [byDay, byStatus, byAgent, calls, promises] = ["by_day", "by_status", "by_agent", "calls", "promises"].map((name) => table(answer[name]));
  document.title = "Calls: a report";
  const broken = list(promises.promised_not_executed).map(table);
  const judged = number(promises.calls_judged);
  const considered = number(promises.calls_considered);
  const covered = [byStatus, byDay, byAgent, calls, promises].map((one) => one.coverage);
  const partial = covered.find((one) => !isWhole(one));
  const seen = coverage(partial ?? calls.coverage);
  const counted = (title, one) => section(2, title, ...drawnCounts(one));
  return el("article", { class: "report" },
    el("header", { class: "head" }, el("h1", {}, "Calls"), el("p", { class: "small quiet" }, windowed(calls.window)), filtered(answer.filters)),
    partial === undefined ? null : seen,
    figures(byStatus),
    section(2, "Promised, not executed",
      broken.length ? el("ol", {}, broken.map(promiseLine)) : el("p", {}, judged ? "None was recognised." : unknown("This cannot be told.")),
      el("p", { class: "note" }, judged === null || considered === null ? "How many calls were compared is not told." : `Compared ${judged} of ${plural(considered, "call")}; the others have no transcript or no reported actions${promises.coverage?.complete === false ? ", or were not looked at" : ""}.`,
        number(promises.promises_left_out) ? ` ${promises.promises_left_out} older ones are left out.` : "",
        " Messages, bookings, transfers and call backs are looked for.")),
    counted("By day", byDay), counted("By status", byStatus), counted("By agent", byAgent),
    section(2, "The calls", ...callList(calls, {})),
    partial === undefined ? seen : null);
};
