// Many calls: a list to filter and sort, of what this answer holds.

const ORDERS = {
  newest: ["Newest first", (one, other) => Date.parse(other.started_at) - Date.parse(one.started_at)],
  oldest: ["Oldest first", (one, other) => Date.parse(one.started_at) - Date.parse(other.started_at)],
  longest: ["Longest first", (one, other) => (number(other.duration_seconds) ?? -1) - (number(one.duration_seconds) ?? -1)],
  shortest: ["Shortest first", (one, other) => (number(one.duration_seconds) ?? Infinity) - (number(other.duration_seconds) ?? Infinity)],
  customer: ["By customer", (one, other) => String(customerOf(one) ?? "\uffff").localeCompare(String(customerOf(other) ?? "\uffff"))],
  agent: ["By agent", (one, other) => String(one.agent ?? "\uffff").localeCompare(String(other.agent ?? "\uffff"))],
};
const accountOf = (row) => String(row.id ?? "").split("/")[0];
const NOT_TOLD = "\u0000";
const CHOICES = [
  ["Status", (row) => [given(row.status) && row.status !== "unknown" ? row.status : NOT_TOLD], (value) => upper(words(value))],
  ["Agent", (row) => [row.agent ?? NOT_TOLD], String],
  ["Account", (row) => [accountOf(row)], String],
  ["Action", (row) => list(row.actions), (value) => upper(words(value))],
];

const callRow = (row, longest, dayShown) => {
  const at = moment(row.started_at);
  const length = number(row.duration_seconds);
  const bar = el("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--part", length === null || !longest ? 0 : (100 * length) / longest);
  const cell = (kind, ...inside) => el("td", { role: "cell", class: kind }, inside);
  const party = row.direction === "outbound" ? "to " : row.direction === "inbound" ? "from " : "";
  return [el("tr", { role: "row", class: given(row.summary) ? "with" : null },
    cell("time", at ? (dayShown ? at.time : `${at.short} ${at.time}`) : told(row.started_at, "time not told")),
    cell("party", party ? el("span", { class: "quiet" }, party) : "", told(customerOf(row), "number not told"),
      row.is_test ? el("span", { class: "quiet" }, " test") : ""),
    cell("", el("span", {}, status(row.status)), given(row.end_reason) && words(row.end_reason).toLowerCase() !== words(row.status).toLowerCase() ? [" ", el("span", { class: "said quiet", dir: "auto" }, row.end_reason)] : ""),
    cell("number length", length === null ? unknown("–") : clock(length), length === null ? unseen("length not told") : length ? bar : ""),
    cell("agent", told(row.agent, "agent not told")),
    cell("turns-held", number(row.turns) ? plural(row.turns, "turn") : el("span", { class: "quiet" }, "no transcript")),
    cell("did", list(row.actions).length ? said(list(row.actions).map(words).join(", ")) : ""),
    cell("id mono", given(row.id) ? el("span", { class: "said", dir: "auto", title: plain(row.id) }, row.id) : ""),
  ), given(row.summary) ? el("tr", { role: "row", class: "more" }, el("td", { role: "cell", colspan: "8" }, unseen("Vendor’s summary: "),
    el("span", { class: "said quiet", dir: "auto" }, row.summary))) : null];
};

const callList = (answer, asked) => {
  const rows = list(answer.calls).map(table);
  const total = number(answer.total);
  const longest = rows.reduce((most, row) => Math.max(most, number(row.duration_seconds) ?? 0), 0);
  const state = { find: "", sort: Object.hasOwn(ORDERS, asked.sort) ? asked.sort : "newest", chosen: new Map() };
  const shown = el("p", { class: "small", role: "status", "aria-live": "polite" });
  const columns = ["Time", "Customer", "Status", "Length", "Agent", "Said", "Done", "Id"];
  const body = el("table", { class: "list", role: "table", "aria-label": "Calls" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, columns.map((name) =>
      el("th", { role: "columnheader", scope: "col", class: name === "Length" ? "number" : null }, name)))));

  const draw = () => {
    const find = state.find.trim().toLowerCase();
    const kept = rows.filter((row) =>
      (!find || [row.id, row.from_number, row.to_number, row.agent, row.end_reason, row.summary].some((value) => given(value) && String(value).toLowerCase().includes(find))) &&
      CHOICES.every(([name, values]) => !state.chosen.get(name) || values(row).includes(state.chosen.get(name))));
    kept.sort(ORDERS[state.sort][1]);
    const byDay = state.sort === "newest" || state.sort === "oldest";
    const groups = [];
    for (const row of kept) {
      const day = byDay ? moment(row.started_at) : null;
      const key = day ? day.day + day.offset : "";
      if (!groups.length || groups[groups.length - 1].key !== key) groups.push({ key, day, rows: [] });
      groups[groups.length - 1].rows.push(row);
    }
    body.querySelectorAll("tbody").forEach((one) => one.remove());
    body.append(...groups.map(({ day, rows: own }) => el("tbody", { role: "rowgroup" },
      day ? el("tr", { role: "row", class: "dayrow" }, el("th", { class: "day", role: "rowheader", scope: "rowgroup", colspan: "8" },
        day.full, el("span", { class: "quiet" }, ` ${day.offset}`))) : null,
      own.map((row) => callRow(row, longest, Boolean(day))))));
    const narrowed = find || [...state.chosen.values()].some(Boolean);
    shown.textContent = narrowed ? `${kept.length.toLocaleString("en")} of the ${plural(rows.length, "call")} in this answer`
      : kept.length === total ? `All ${plural(kept.length, "call")}` : `${plural(kept.length, "call")}${total === null ? "; how many there are is not told" : ` of ${total.toLocaleString("en")}`}`;
  };

  const choice = ([name, values, shownAs]) => {
    const counts = new Map();
    for (const row of rows) for (const value of values(row)) counts.set(value, (counts.get(value) || 0) + 1);
    if (counts.size < 2 && !(name === "Action" && counts.size)) return null;
    const options = [...counts].sort((one, other) => other[1] - one[1]);
    return el("label", {}, name, el("select", { change: (event) => { state.chosen.set(name, options[event.target.selectedIndex - 1]?.[0]); draw(); } },
      el("option", {}, "Any"), options.map(([value, count]) => el("option", {}, `${value === NOT_TOLD ? "not told" : plain(shownAs(value))} (${count})`))));
  };
  const filters = rows.length > 1 ? el("div", { class: "filters", role: "search", "aria-label": "Filter the calls of this answer" },
    el("label", {}, "Find", el("input", { type: "search", placeholder: "number, agent, id", autocomplete: "off", spellcheck: "false",
      input: (event) => { state.find = event.target.value; draw(); } })),
    CHOICES.map(choice),
    el("label", {}, "Order", el("select", { change: (event) => { state.sort = Object.keys(ORDERS)[event.target.selectedIndex]; draw(); } },
      Object.entries(ORDERS).map(([key, [name]]) => el("option", { selected: key === state.sort }, name))))) : null;
  draw();
  const more = given(answer.next_cursor) || (total !== null && rows.length < total);
  return [filters, shown, rows.length ? el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of calls" }, body) : el("p", {}, "No calls.", given(answer.note) ? [" ", said(answer.note)] : ""),
    more ? el("p", { class: "note" }, total !== null && rows.length < total ? `${plural(total - rows.length, "call")} of this question ${total - rows.length === 1 ? "is" : "are"} not in this answer. ` : "There are more pages. ",
      "Filters and order here concern what is shown.", given(answer.next_cursor) ? " next_cursor goes on." : "") : null];
};

const showCalls = (answer, asked) => {
  document.title = "Calls";
  const total = number(answer.total);
  const seen = coverage(answer.coverage);
  return [el("header", { class: "head" },
    el("h1", {}, total === null ? "Calls" : total === 0 ? "No calls" : plural(total, "call")),
    el("p", { class: "small quiet" }, windowed(answer.window)), filtered(answer.filters)),
  isWhole(answer.coverage) ? null : seen, ...callList(answer, table(asked)), isWhole(answer.coverage) ? seen : null].filter(Boolean);
};
