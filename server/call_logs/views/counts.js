// Counts: columns over time, bars over names, a table of shades over two dimensions.

const TIMED = ["day", "hour", "weekday"];
const WEEK = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MOST_COLUMNS = 124;
const MOST_LABELS = 5;
const DAY = 86_400_000;

const spent = (seconds) => {
  const minutes = Math.round(seconds / 60);
  return minutes < 1 ? `${Math.round(seconds)} s` : minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};
const keyOf = (group, name) => String(table(group.key)[name] ?? "unknown");
const nameOf = (dimension, value) =>
  value === "unknown" ? unknown(dimension === "status" || dimension === "agent" || dimension === "direction" ? `${dimension} not told` : "not told")
    : dimension === "day" && dated(value) ? dated(value).full
      : said(["status", "direction"].includes(dimension) ? upper(words(value)) : value);
const briefOf = (dimension, value) => (dimension === "day" && dated(value) ? dated(value).short : dimension === "weekday" ? value.slice(0, 3) : plain(value));

// The whole calendar between the first and the last: a day without calls is a column of none, not a gap left out.
const filled = (dimension, groups) => {
  const held = new Map(groups.map((group) => [keyOf(group, dimension), group]));
  const keys = [...held.keys()];
  let all = keys;
  if (dimension === "weekday") all = WEEK;
  else if (dimension === "hour" && keys.every((key) => /^\d\d?$/.test(key.slice(0, 2)))) {
    const like = keys[0].slice(2);
    all = Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, "0") + like);
  } else if (dimension === "day" && keys.every(dated)) {
    const [first, last] = [Date.parse(keys[0]), Date.parse(keys[keys.length - 1])];
    if ((last - first) / DAY < MOST_COLUMNS) {
      all = [];
      for (let day = first; day <= last; day += DAY) all.push(new Date(day).toISOString().slice(0, 10));
    }
  }
  if (!keys.every((key) => all.includes(key))) all = keys;
  return all.map((key) => ({ name: key, calls: 0, answered: 0, ...table(held.get(key)) }));
};

const columns = (dimension, groups) => {
  const all = filled(dimension, groups);
  const most = all.reduce((one, group) => Math.max(one, group.calls), 0) || 1;
  const peak = all.find((group) => group.calls === most);
  const every = Math.ceil(all.length / MOST_LABELS);
  const part = (name, value) => {
    const piece = el("i", { class: name });
    piece.style.setProperty("--part", (100 * value) / most);
    return value > 0 ? piece : null;
  };
  return el("figure", { class: "chart" },
    el("div", { class: "columns", role: "img", "aria-label": `Calls by ${plain(dimension)}: ${all.length} columns, most on ${briefOf(dimension, peak.name)} with ${most}. The table below has all numbers.` },
      all.map((group) => el("span", { class: `column${group === peak ? " most" : ""}`, title: `${briefOf(dimension, group.name)}: ${plural(group.calls, "call")}, ${group.answered} answered` },
        all.length <= 16 || group === peak ? el("b", {}, String(group.calls)) : null, part("other", group.calls - group.answered), part("", group.answered)))),
    el("div", { class: "labels", "aria-hidden": "true" }, all.map((group, index) =>
      el("span", {}, index === all.length - 1 || (index % every === 0 && index + every * 0.7 < all.length) ? el("em", {}, briefOf(dimension, group.name)) : ""))),
    legend());
};
const legend = () => el("p", { class: "key" }, el("span", {}, el("i", { "aria-hidden": "true" }), "answered"), el("span", {}, el("i", { class: "other", "aria-hidden": "true" }), "not answered"));

const bars = (dimension, groups, drawn) => {
  const most = groups.reduce((one, group) => Math.max(one, number(group.calls) ?? 0), 0) || 1;
  const stack = (group) => {
    const part = (name, value) => {
      const piece = el("i", { class: name });
      piece.style.setProperty("--part", (100 * value) / most);
      return value > 0 ? piece : null;
    };
    return el("span", { class: "stack", "aria-hidden": "true" }, part("", group.answered), part("other", group.calls - group.answered));
  };
  const head = (name, kind) => el("th", { scope: "col", class: kind }, name);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Calls by ${plain(words(dimension))}` }, el("table", { class: "bars" },
    el("thead", {}, el("tr", {}, head(said(upper(words(dimension)))), drawn ? el("td", { class: "stretch" }) : null, head("Calls", "number"), head("Answered", "number"),
      head("In all", "number spare"), head("Median", "number spare"))),
    el("tbody", {}, groups.map((group) => el("tr", {}, el("th", { scope: "row" }, nameOf(dimension, keyOf(group, dimension))),
      drawn ? el("td", { class: "stretch" }, stack(group)) : null,
      el("td", { class: "number" }, (group.calls ?? 0).toLocaleString("en")), el("td", { class: "number" }, (group.answered ?? 0).toLocaleString("en")),
      el("td", { class: "number spare" }, number(group.median_seconds) === null ? unknown("–") : spent(group.total_seconds)),
      el("td", { class: "number spare" }, number(group.median_seconds) === null ? unknown("–") : clock(group.median_seconds)))))));
};

const matrix = (dimensions, groups, leftOut) => {
  const values = dimensions.map((name) => [...new Set(groups.map((group) => keyOf(group, name)))]);
  const [down, across] = values[0].length >= values[1].length ? [0, 1] : [1, 0];
  const ordered = (index) => (dimensions[index] === "weekday" ? WEEK.filter((day) => values[index].includes(day)) : TIMED.includes(dimensions[index]) ? [...values[index]].sort() : values[index]);
  const cells = new Map(groups.map((group) => [JSON.stringify(dimensions.map((name) => keyOf(group, name))), group]));
  const at = (row, column) => cells.get(JSON.stringify(down === 0 ? [row, column] : [column, row]));
  const most = groups.reduce((one, group) => Math.max(one, number(group.calls) ?? 0), 0) || 1;
  const sums = !leftOut && !dimensions.includes("phone");
  const rows = ordered(down).map((row) => {
    const own = ordered(across).map((column) => at(row, column));
    return el("tr", {}, el("th", { scope: "row" }, nameOf(dimensions[down], row)), own.map((group) => {
      const calls = group ? group.calls : 0;
      const cell = el("td", { class: calls ? null : "zero", title: group ? `${plural(group.calls, "call")}, ${group.answered} answered` : null }, group ? calls.toLocaleString("en") : leftOut ? [el("span", { "aria-hidden": "true" }, "–"), unseen("none or left out")] : "0");
      cell.style.setProperty("--part", Math.round(100 * Math.sqrt(calls / most)));
      return cell;
    }), sums ? el("td", { class: "sum" }, own.reduce((sum, group) => sum + (group ? group.calls : 0), 0).toLocaleString("en")) : null);
  });
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Calls by ${plain(dimensions.map(words).join(" and "))}` }, el("table", { class: "matrix" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, said(upper(words(dimensions[down])))),
      ordered(across).map((column) => el("th", { scope: "col" }, nameOf(dimensions[across], column))), sums ? el("th", { scope: "col" }, "Calls") : null)),
    el("tbody", {}, rows)));
};

const drawnCounts = (answer) => {
  const groups = list(answer.groups).map(table);
  const dimensions = groups.length ? Object.keys(table(groups[0].key)) : [];
  const leftOut = number(answer.groups_left_out);
  const drawing = !dimensions.length ? []
    : dimensions.length > 1 ? [matrix(dimensions, groups, leftOut)]
      : TIMED.includes(dimensions[0]) ? [columns(dimensions[0], groups), el("details", {}, el("summary", {}, "All numbers"), bars(dimensions[0], groups, false))]
        : [bars(dimensions[0], groups, true), legend()];
  return [...drawing, leftOut ? el("p", { class: "trouble small" }, `${plural(leftOut, "group")} left out: narrow the window or the filters.`) : null,
    given(answer.note) ? el("p", { class: "note" }, said(answer.note)) : null].filter(Boolean);
};

const figures = (answer) => {
  const groups = list(answer.groups).map(table);
  const dimensions = groups.length ? Object.keys(table(groups[0].key)) : [];
  // Groups by number hold a call twice, and with some left out a sum would be short: then only the total is known.
  const whole = groups.length > 0 && !number(answer.groups_left_out) && !dimensions.includes("phone");
  const sum = (name) => groups.reduce((most, group) => most + (number(group[name]) ?? 0), 0);
  const pair = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  return el("dl", { class: "figures" }, pair("calls", number(answer.total) === null ? unknown() : answer.total.toLocaleString("en")),
    whole ? [pair("answered", sum("answered").toLocaleString("en")), pair("of conversation", spent(sum("total_seconds")))] : null,
    whole && groups.length === 1 && number(groups[0].median_seconds) !== null ? pair("median", clock(groups[0].median_seconds)) : null);
};

const showCounts = (answer) => {
  document.title = "Calls counted";
  const groups = list(answer.groups).map(table);
  const dimensions = groups.length ? Object.keys(table(groups[0].key)) : [];
  const seen = coverage(answer.coverage);
  return [el("header", { class: "head" },
    el("h1", {}, dimensions.length ? ["Calls by ", said(dimensions.map(words).join(" and "))] : number(answer.total) === 0 ? "No calls" : "Calls"),
    el("p", { class: "small quiet" }, windowed(answer.window)), filtered(answer.filters)),
  isWhole(answer.coverage) ? null : seen, figures(answer), ...drawnCounts(answer), isWhole(answer.coverage) ? seen : null].filter(Boolean);
};
