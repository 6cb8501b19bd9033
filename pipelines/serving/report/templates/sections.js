// One function a section: what it shows of the chosen site and period. `view` gives rows as objects by column name.

const TIERS = ["power", "core", "regular", "casual", "at_risk", "(none)"];
const MODELS = ["first", "last", "last_non_direct", "linear", "position", "time_decay"];
const LENGTHS = { day: "Days", week: "Weeks", month: "Months" };

const share = (rows, column) => {
  const total = sum(rows, column);
  return (row) => ratio(row[column], total);
};

function kpis(view) {
  const rows = view.rows("kpis");
  if (!rows.length) return [note(view.missing("kpis") ?? "No KPI has a value in this period.")];
  const earlier = new Map(view.before("kpis").map((row) => [`${row.kpi}\n${row.dimension}`, row.value]));
  const met = rows.filter((row) => row.target != null);
  const good = met.filter((row) => !isOff(row.status)).length;
  return [
    met.length ? say(`${good} of ${met.length} KPIs with a target are on target on the last day of the period.`) : null,
    table([
      { title: "KPI", cell: (row) => `${sentence(words(row.kpi))}${/^(\(?all\)?|total)?$/.test(row.dimension ?? "") ? "" : ` · ${row.dimension}`}` },
      { title: "Daily average", number: true, cell: (row) => inUnit(row.value, row.unit) },
      { title: "Before", number: true, cell: (row) => inUnit(earlier.get(`${row.kpi}\n${row.dimension}`), row.unit) },
      { title: "Last day", number: true, cell: (row) => inUnit(row.latest, row.unit) },
      { title: "Target", number: true, cell: (row) => inUnit(row.target, row.unit) },
      { title: "", number: true, cell: (row) => row.status ? h("span", { class: `tag ${row.target == null ? "" : isOff(row.status) ? "worse" : "better"}` }, words(row.status)) : "" },
    ], rows),
  ];
}

const isOff = (status) => status != null && !["on_target", "ok", "met", "none", "no_target"].includes(status);

function users(view) {
  const rows = view.all("active_users").filter((row) => row.date <= view.period.end);
  if (!rows.length) return [note(view.missing("active_users") ?? "Nobody has been active yet.")];
  const last = rows[rows.length - 1];
  const dates = rows.map((row) => row.date);
  const top = Math.max(...rows.map((row) => row.mau));
  const lines = [["mau", "MAU", "fourth"], ["wau", "WAU", "third"], ["dau", "DAU", "accent"]];
  const line = chart("Daily, weekly and monthly active users", 280, lines.map(([name, label, tint]) => ({
    type: "scatter", mode: rows.length > 1 ? "lines" : "markers", x: dates, y: rows.map((row) => row[name]), name: label,
    line: { color: color(tint), width: 2.25 }, hovertemplate: `%{x|%-d %b}: %{y:,} ${label}<extra></extra>`,
  })), {
    margin: { l: 8, r: 74, t: 10, b: 8 }, xaxis: axis({ showgrid: false, tickformat: "%-d %b", nticks: isNarrow() ? 4 : 8, range: [dates[0], last.date] }),
    yaxis: axis({ rangemode: "tozero", nticks: 5 }), hovermode: "x",
    annotations: endLabels(lines.map(([name, label, tint]) => ({ x: last.date, y: last[name], text: `${label} ${count(last[name])}`, tint })), top, 240),
  });
  const sticky = chart("Stickiness: daily over monthly active users", 280, [{
    type: "scatter", mode: rows.length > 1 ? "lines" : "markers", x: dates, y: rows.map((row) => row.stickiness),
    line: { color: color("second"), width: 2.25 }, hovertemplate: "%{x|%-d %b}: %{y:.0%}<extra></extra>",
  }], {
    margin: { l: 8, r: 46, t: 10, b: 8 }, xaxis: axis({ showgrid: false, tickformat: "%-d %b", nticks: isNarrow() ? 4 : 6, range: [dates[0], last.date] }),
    yaxis: axis({ rangemode: "tozero", tickformat: ".0%", nticks: 5 }), annotations: [endLabel(last.date, last.stickiness, percent(last.stickiness), "second")],
  });
  return [
    say(`On ${day(last.date)}, ${count(last.dau)} people were active; ${count(last.wau)} in the 7 days and ${count(last.mau)} in the 30 days to it. On a day, ${percent(last.stickiness)} of the month's people come.`),
    h("div", { class: "grid" }, block("People active on a day, in 7 days, in 30 days", line), block("Stickiness (DAU / MAU)", sticky)),
    block("Who came and who stayed away", ...lifecycle(view)),
  ];
}

function lifecycle(view) {
  const all = view.all("lifecycle");
  const there = Object.keys(LENGTHS).filter((length) => all.some((row) => row.length === length));
  if (!there.length) return [note(view.missing("lifecycle") ?? "No period of this site has anybody in it yet.")];
  const chosen = view.choose("lifecycle", there.includes("week") ? "week" : there[0]);
  const rows = all.filter((row) => row.length === chosen && row.period_start <= view.period.end);
  const kinds = [["returning", "accent"], ["new", "third"], ["resurrected", "second"], ["dormant", "fourth"]];
  const drawn = chart("New, returning, resurrected and dormant people", 270, kinds.map(([name, tint]) => ({
    type: "bar", x: rows.map((row) => row.period_start), y: rows.map((row) => row[name]), name: sentence(name),
    marker: { color: color(tint) }, hovertemplate: `${sentence(name)} from %{x|%-d %b}: %{y:,}<extra></extra>`,
  })), {
    barmode: "relative", showlegend: true, legend: { orientation: "h", x: 0, y: 1.14, traceorder: "normal" }, margin: { l: 8, r: 8, t: 34, b: 8 },
    xaxis: axis({ type: "category", showgrid: false, tickvals: rows.map((row) => row.period_start), ticktext: rows.map((row, place) => (place % Math.ceil(rows.length / (isNarrow() ? 4 : 13)) ? "" : day(row.period_start))) }),
    yaxis: axis({ nticks: 5 }),
  });
  return [view.pills("lifecycle", Object.fromEntries(there.map((length) => [length, LENGTHS[length]])), chosen), drawn];
}

function funnels(view) {
  const rows = view.rows("funnels");
  const [totals] = view.rows("totals");
  const parts = [];
  if (totals?.convert_median != null) {
    parts.push(say(`Half of the sessions that converted did so within ${seconds(totals.convert_median)} of their start, nine in ten within ${seconds(totals.convert_p90)}.`));
  } else if (!view.missing("totals")) parts.push(note("No session converted in this period, so there is no time to convert."));
  if (!rows.length) return [...parts, note(view.missing("funnels") ?? "No journey of this period is in a funnel.")];
  const names = [...new Set(rows.map((row) => row.funnel))];
  const earlier = new Map(view.before("funnels").map((row) => [`${row.funnel}\n${row.step_number}`, ratio(row.count, row.journeys)]));
  for (const name of names) {
    const steps = rows.filter((row) => row.funnel === name);
    const drawn = bars(`Funnel ${name}`, steps, {
      label: (row) => `${row.step_number} ${row.step}`, value: (row) => row.count,
      format: (value, row) => `${count(value)} · ${percent(ratio(value, row.journeys) ?? 0)}`,
      hover: (row) => `${row.step}: ${count(row.count)} of ${count(row.journeys)} journeys`,
    });
    const lost = steps.map((row, place) => ({ ...row, lost: place ? Math.max(0, steps[place - 1].count - row.count) : 0, rate: place ? ratio(Math.max(0, steps[place - 1].count - row.count), steps[place - 1].count) : null }));
    const worst = lost.reduce((most, row) => (row.lost > (most?.lost ?? 0) ? row : most), null);
    const timed = steps.some((row) => row.median_seconds != null);
    const columns = [
      { title: "Step", cell: (row) => row.step },
      { title: "Lost before it", number: true, cell: (row) => (row.rate == null ? "–" : count(row.lost)), bar: (row) => row.rate },
      { title: "Drop-off", number: true, cell: (row) => formatted("percent", row.rate) },
      ...(earlier.size ? [{ title: "Reached, before", number: true, cell: (row) => formatted("percent", earlier.get(`${name}\n${row.step_number}`)) }] : []),
      ...(timed ? [
        { title: "Time to it, median", number: true, cell: (row) => formatted("seconds", row.median_seconds) },
        { title: "p90", number: true, cell: (row) => formatted("seconds", row.p90_seconds) },
      ] : []),
    ];
    parts.push(block(sentence(words(name)), worst ? say(`The largest loss is before ${worst.step}: ${count(worst.lost)}, ${percent(worst.rate)} of those one step earlier.`) : null,
      grid(h("div", {}, drawn), h("div", {}, table(columns, lost), timed ? note("Times are the mean of the days' medians and p90, weighted by journeys.") : null))));
  }
  return parts;
}

function retention(view) {
  const all = view.all("retention");
  const there = Object.keys(LENGTHS).filter((length) => all.some((row) => row.length === length));
  if (!there.length) return [note(view.missing("retention") ?? "No cohort has a complete period yet.")];
  const chosen = view.choose("retention", there.includes("week") ? "week" : there[0]);
  const rows = all.filter((row) => row.length === chosen && row.cohort_start <= view.period.end);
  const starts = [...new Set(rows.filter((row) => row.n > 0).map((row) => row.cohort_start))];
  const last = Math.max(...rows.map((row) => row.n), 0);
  const places = [...Array(last).keys()].map((n) => n + 1); // at first all are active, by definition
  if (!last) return [note("No cohort is complete one period on.")];
  const at = new Map(rows.map((row) => [`${row.cohort_start}\n${row.n}`, row]));
  const cells = starts.map((start) => places.map((n) => at.get(`${start}\n${n}`)));
  const top = Math.max(...rows.filter((row) => row.n > 0).map((row) => row.retention), 0.01);
  const unit = chosen === "day" ? "day" : chosen;
  const drawn = chart(`Retention by ${unit} cohort`, 48 + starts.length * 27, [{
    type: "heatmap", x: places, y: starts.map((_, place) => place), z: cells.map((line) => line.map((cell) => (cell ? cell.retention : null))),
    zmin: 0, zmax: top, colorscale: [[0, color("faint")], [1, color("accent")]], showscale: false, xgap: 2, ygap: 2, hoverongaps: false,
    hovertext: cells.map((line) => line.map((cell) => (cell ? `First active ${day(cell.cohort_start, true)}: ${count(cell.active)} of ${count(cell.size)} active ${cell.n} ${unit}s later` : ""))), hoverinfo: "text",
  }], {
    margin: { l: 8, r: 8, t: 34, b: 8 },
    xaxis: axis({ side: "top", tickvals: places, ticktext: places.map((n) => `+${n}`), showgrid: false, zeroline: false, ticks: "" }),
    yaxis: axis({ autorange: "reversed", tickvals: starts.map((_, place) => place), showgrid: false, zeroline: false, ticks: "",
      ticktext: starts.map((start) => `${day(start)} · ${count(rows.find((row) => row.cohort_start === start).size)}`) }),
    annotations: cells.flatMap((line, y) => line.filter(Boolean).map((cell) => ({
      x: cell.n, y, showarrow: false, text: `${Math.round(cell.retention * 100)}%`,
      font: { size: 11.5, color: color(cell.retention > top * 0.55 ? "paper" : "ink") },
    }))),
  });
  const next = rows.filter((row) => row.n === 1);
  const kept = next.length ? ratio(sum(next, "active"), sum(next, "size")) : null;
  return [
    say(`Of everyone who first came in the ${unit}s shown, ${percent(kept)} were active again in the ${unit} after. A row is a cohort with its size.`),
    view.pills("retention", Object.fromEntries(there.map((length) => [length, LENGTHS[length]])), chosen),
    h("div", { class: "wide" }, drawn),
  ];
}

function paths(view) {
  const every = view.rows("paths");
  const started = sum(every.filter((hop) => hop.step === 1), "sessions");
  const hops = every.filter((hop) => hop.sessions >= started * 0.004); // threads of a session or two only blur
  if (!hops.length) return [note(view.missing("paths") ?? "No session of this period has a page view.")];
  const nodes = [...new Map(hops.flatMap((hop) => [[`${hop.step}\n${hop.from_page}`, hop.from_page], [`${hop.step + 1}\n${hop.to_page}`, hop.to_page]]))];
  const place = new Map(nodes.map(([key], position) => [key, position]));
  const isExit = ([, page]) => page === "(exit)";
  const drawn = chart("Sankey diagram of the first pages of sessions", 460, [{
    type: "sankey", arrangement: "fixed", textfont: { color: color("ink"), size: 12.5 },
    node: {
      align: "left", label: nodes.map(([, page]) => plain(shortened(page, 22))), pad: 18, thickness: 12, line: { width: 0 },
      color: nodes.map((node) => color(isExit(node) ? "fourth" : "accent")), customdata: nodes.map(([, page]) => plain(page)),
      hovertemplate: "%{customdata}: %{value:,} sessions<extra></extra>",
    },
    link: {
      source: hops.map((hop) => place.get(`${hop.step}\n${hop.from_page}`)), target: hops.map((hop) => place.get(`${hop.step + 1}\n${hop.to_page}`)),
      value: hops.map((hop) => hop.sessions), color: hops.map((hop) => color(hop.to_page === "(exit)" ? "faint" : "soft")),
      customdata: hops.map((hop) => plain(`${hop.from_page} → ${hop.to_page}`)), hovertemplate: "%{customdata}: %{value:,} sessions<extra></extra>",
    },
  }], { margin: { l: 8, r: 8, t: 10, b: 14 } });
  const [first] = hops.filter((hop) => hop.step === 1 && hop.to_page !== "(exit)").sort((a, b) => b.sessions - a.sessions);
  const left = sum(every.filter((hop) => hop.step === 1 && hop.to_page === "(exit)"), "sessions");
  const patterns = view.rows("patterns");
  return [
    say(`${percent(left / started)} of sessions leave after their first page.${first ? ` The most travelled first step is ${first.from_page} → ${first.to_page}, ${count(first.sessions)} sessions.` : ""}`),
    block("The first five pages of sessions, from left to right; pages of one folder together", h("div", { class: "wide" }, drawn)),
    block("Whole paths", patterns.length ? table([
      { title: "Path", cell: (row) => row.path },
      { title: "Sessions", number: true, cell: (row) => count(row.sessions), bar: (row) => row.sessions / patterns[0].sessions },
      { title: "Converted", number: true, cell: (row) => percent(ratio(row.conversions, row.sessions)) },
    ], patterns) : note(view.missing("patterns") ?? "No whole path in this period.")),
  ];
}

function pages(view) {
  const rows = view.rows("pages");
  if (!rows.length) return [note(view.missing("pages") ?? "No page was viewed in this period.")];
  const best = (column) => rows.filter((row) => row[column] > 0).sort((a, b) => b[column] - a[column] || (a.page < b.page ? -1 : 1)).slice(0, 8);
  const list = (title, column, second, none) => {
    const chosen = best(column);
    return block(title, chosen.length ? table([
      { title: "Page", cell: (row) => row.page },
      { title: sentence(column), number: true, cell: (row) => count(row[column]), bar: (row) => row[column] / chosen[0][column] },
      second,
    ], chosen) : note(none));
  };
  const entries = best("entries");
  const worst = best("abandonments")[0];
  return [
    say([
      entries.length ? `Most sessions begin on ${entries[0].page}.` : null,
      worst ? `Most that end without a conversion end on ${worst.page}: ${count(worst.abandonments)}.` : null,
    ].filter(Boolean).join(" ")),
    h("div", { class: "grid three" },
      list("Entry pages", "entries", { title: "Bounce", number: true, cell: (row) => formatted("percent", ratio(row.bounces, row.entries)) }, "No session began in this period."),
      list("Exit pages", "exits", { title: "Of views", number: true, cell: (row) => formatted("percent", ratio(row.exits, row.views)) }, "No session ended in this period."),
      list("Abandonment pages", "abandonments", { title: "Of exits", number: true, cell: (row) => formatted("percent", ratio(row.abandonments, row.exits)) }, "No session was abandoned in this period.")),
  ];
}

function speed(view) {
  const rows = view.rows("speed");
  const [total] = rows.filter((row) => row.device == null);
  if (!total) return [note(view.missing("speed") ?? "No page view of this period says how long it took to load.")];
  const [earlier] = view.before("speed").filter((row) => row.device == null);
  const devices = rows.filter((row) => row.device != null).sort((a, b) => b.samples - a.samples);
  const places = devices.map((_, place) => place);
  const drawn = chart("Load times by device: p50, p90 and p99", 64 + devices.length * 44, [
    ...devices.map((row, place) => ({ type: "scatter", mode: "lines", x: [row.p50, row.p99], y: [place, place], line: { color: color("line"), width: 6 }, hoverinfo: "skip" })),
    ...[["p50", "accent"], ["p90", "second"], ["p99", "fourth"]].map(([name, tint]) => ({
      type: "scatter", mode: "markers+text", x: devices.map((row) => row[name]), y: places, marker: { size: 12, color: color(tint) },
      text: devices.map((row, place) => (place ? "" : name)), textposition: name === "p99" ? "bottom center" : "top center", textfont: { color: color(tint), size: 12 }, cliponaxis: false,
      hovertext: devices.map((row) => plain(`${row.device}, ${name}: ${milliseconds(row[name])} of ${count(row.samples)} page views`)), hoverinfo: "text",
    })),
  ], {
    xaxis: axis({ ticksuffix: " ms", rangemode: "tozero", nticks: isNarrow() ? 4 : 6 }),
    yaxis: axis({ range: [devices.length - 0.5, -0.7], tickvals: places, ticktext: devices.map((row) => plain(row.device)), showgrid: false, zeroline: false, tickfont: { color: color("ink"), size: 12.5 } }),
  });
  const slow = view.rows("slow_pages");
  return [
    say(`Half of all page views load within ${milliseconds(total.p50)}, nine in ten within ${milliseconds(total.p90)}${earlier ? ` (before: ${milliseconds(earlier.p90)})` : ""}, of ${count(total.samples)} measured.`),
    grid(block("By device", drawn), block("Slowest pages (at least 10 page views)", slow.length ? table([
      { title: "Page", cell: (row) => row.page },
      { title: "p50", number: true, cell: (row) => milliseconds(row.p50) },
      { title: "p90", number: true, cell: (row) => milliseconds(row.p90), bar: (row) => row.p90 / slow[0].p90 },
      { title: "Views", number: true, cell: (row) => count(row.samples) },
    ], slow.slice(0, 8)) : note("No page was measured often enough in this period."))),
  ];
}

const countries = new Intl.DisplayNames(["en"], { type: "region" });
const country = (code) => (/^[A-Z]{2}$/.test(code) ? `${countries.of(code)} (${code})` : code);

function segments(view, name, title, description, called = (value) => value) {
  const rows = view.rows(`segments_${name}`);
  if (!rows.length) return block(title, note(view.missing(`segments_${name}`) ?? "No countable session in this period."));
  const earlier = new Map(view.before(`segments_${name}`).map((row) => [row.value, row.sessions]));
  const part = share(rows, "sessions");
  return block(title, bars(description, rows.slice(0, 8), {
    label: (row) => called(row.value), value: (row) => row.sessions, before: earlier.size ? (row) => earlier.get(row.value) ?? 0 : null,
    format: (value, row) => `${count(value)} · ${percent(part(row))}`,
    hover: (row) => `${called(row.value)}: ${count(row.sessions)} sessions, ${count(row.conversions)} converted (${percent(ratio(row.conversions, row.sessions) ?? 0)})`,
  }));
}

function sources(view) {
  const rows = view.rows("sources");
  const paid = sum(rows, "revenue") > 0;
  return [mark(view), grid(
    segments(view, "channel", "Sessions by channel", "Sessions by channel"),
    block("Sources and campaigns", rows.length ? table([
      { title: "Source / medium", cell: (row) => h("span", {}, `${row.traffic_source} / ${row.traffic_medium} `, row.campaign === "(not set)" ? null : h("span", { class: "tag" }, row.campaign)) },
      { title: "Sessions", number: true, cell: (row) => count(row.sessions), bar: (row) => row.sessions / rows[0].sessions },
      { title: "Converted", number: true, cell: (row) => percent(ratio(row.conversions, row.sessions)) },
      ...(paid ? [{ title: "Revenue", number: true, cell: (row) => count(row.revenue) }] : []),
    ], rows) : note(view.missing("sources") ?? "No countable session in this period.")),
  )];
}

function attribution(view) {
  const rows = view.rows("attribution");
  if (!rows.length) return [note(view.missing("attribution") ?? "No conversion in this period, so there is no credit to give.")];
  const models = MODELS.filter((model) => rows.some((row) => row.model === model));
  const credit = new Map(rows.map((row) => [`${row.model}\n${row.channel}`, row.conversions]));
  const total = (channel) => models.reduce((all, model) => all + (credit.get(`${model}\n${channel}`) ?? 0), 0);
  const channels = [...new Set(rows.map((row) => row.channel))].sort((a, b) => total(b) - total(a)).slice(0, 8);
  const shown = [["first", "accent", "circle"], ["linear", "third", "diamond"], ["last", "second", "square"]].filter(([model]) => models.includes(model));
  const places = channels.map((_, place) => place);
  const of = (model, channel) => credit.get(`${model}\n${channel}`) ?? 0;
  const drawn = chart("Conversions credited to channels by the first, linear and last model", 70 + channels.length * 34, [
    ...channels.map((channel, place) => {
      const values = shown.map(([model]) => of(model, channel));
      return { type: "scatter", mode: "lines", x: [Math.min(...values), Math.max(...values)], y: [place, place], line: { color: color("line"), width: 5 }, hoverinfo: "skip", showlegend: false };
    }),
    ...shown.map(([model, tint, symbol]) => ({
      type: "scatter", mode: "markers", name: `${sentence(words(model))} touch`.replace("Linear touch", "Linear"), x: channels.map((channel) => of(model, channel)), y: places,
      marker: { size: 11, color: color(tint), symbol }, cliponaxis: false, hovertext: channels.map((channel) => plain(`${channel}, ${words(model)}: ${of(model, channel).toFixed(1)}`)), hoverinfo: "text",
    })),
  ], {
    showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 8, r: 12, t: 36, b: 8 },
    xaxis: axis({ rangemode: "tozero", nticks: isNarrow() ? 4 : 7 }),
    yaxis: axis({ range: [channels.length - 0.5, -0.5], tickvals: places, ticktext: channels.map((channel) => plain(shortened(channel, 22))), showgrid: false, zeroline: false, tickfont: { color: color("ink"), size: 12.5 } }),
  });
  const moved = [...channels].sort((a, b) => Math.abs(of("first", b) - of("last", b)) - Math.abs(of("first", a) - of("last", a)))[0];
  const difference = of("first", moved) - of("last", moved);
  return [
    say(Math.abs(difference) < 1 ? "All models give the channels nearly the same credit in this period."
      : `${moved} ${difference > 0 ? "begins" : "closes"} more than it ${difference > 0 ? "closes" : "begins"}: ${of("first", moved).toFixed(0)} conversions by first touch, ${of("last", moved).toFixed(0)} by last.`),
    block("Conversions credited", drawn),
    block(null, table([
      { title: "Channel", cell: (channel) => channel },
      ...models.map((model) => ({ title: sentence(words(model)), number: true, cell: (channel) => of(model, channel).toFixed(1) })),
    ], channels)),
  ];
}

const mark = (view) => (view.period.before ? note(`The thin mark in a bar is ${view.period.before_label}.`) : null);

const devices = (view) => [mark(view), h("div", { class: "grid three" },
  segments(view, "device_type", "Device", "Sessions by type of device"), segments(view, "browser", "Browser", "Sessions by browser"), segments(view, "os", "System", "Sessions by operating system"))];

const geography = (view) => [mark(view), grid(segments(view, "country", "Country", "Sessions by country", country), segments(view, "region", "Region", "Sessions by region"))];

function churn(view) {
  const people = view.all("churn");
  const tiers = view.rows("tiers");
  const parts = [];
  if (!people.length) parts.push(note(view.missing("churn") ?? "Nobody has been active yet, so nobody can be lost."));
  else {
    const risky = sum(people.filter((row) => row.at_risk), "users");
    const fading = sum(people.filter((row) => row.trend === "declining" && !row.at_risk), "users");
    const levels = [...new Set(people.map((row) => row.risk))].sort((a, b) => a - b);
    const at = (level) => sum(people.filter((row) => row.risk === level), "users");
    const present = TIERS.filter((tier) => people.some((row) => row.tier === tier)).map((tier) => ({ tier, users: sum(people.filter((row) => row.tier === tier), "users") }));
    parts.push(
      say(`${count(risky)} of ${count(sum(people, "users"))} people ever active (${percent(risky / sum(people, "users"))}) are at risk on ${day(people[0].as_of)}; ${count(fading)} more come less often than the week before.`),
      grid(
        block("People by churn risk", chart("People by churn risk", 250, [{
          type: "bar", x: levels, y: levels.map(at), width: 0.085, marker: { color: levels.map((level) => color(level >= 0.6 ? "second" : "accent")) },
          text: levels.map((level) => count(at(level))), textposition: "outside", cliponaxis: false, hovertemplate: "risk from %{x:.1f}: %{y:,} people<extra></extra>",
        }], { xaxis: axis({ showgrid: false, range: [-0.08, 1.08], dtick: 0.2, tickformat: ".1f" }), yaxis: axis({ visible: false }), margin: { l: 8, r: 8, t: 24, b: 8 },
          annotations: [{ x: 0.56, y: 1.04, yref: "paper", xanchor: "left", text: "at risk →", showarrow: false, font: { color: color("second"), size: 12.5 } }] })),
        block("People by tier", bars("People by tier", present, { label: (row) => words(row.tier), value: (row) => row.users }))));
  }
  if (tiers.length) {
    const order = TIERS.filter((tier) => tiers.some((row) => row.tier === tier)).map((tier) => tiers.find((row) => row.tier === tier));
    const part = share(order, "users");
    parts.push(block(`Engagement in the 30 days to ${day(view.period.end)}`, bars("People by engagement tier", order, { label: (row) => words(row.tier), value: (row) => row.users, format: (value, row) => `${count(value)} · ${percent(part(row))}` })));
  } else parts.push(note(view.missing("tiers") ?? "Nobody was active in the 30 days to the end of this period."));
  return parts;
}

function anomalies(view) {
  const rows = view.rows("anomalies");
  const examples = view.all("anomaly_sessions");
  const parts = [];
  if (!rows.length) parts.push(note(view.missing("anomalies") ?? "No metric left its expected range in this period."));
  else {
    // Metrics have different units, so they are drawn in widths of their own expected range.
    const off = (row) => (row.value - row.expected) / ((row.high - row.low) / 2 || Math.abs(row.expected) || 1);
    const shown = rows.slice(0, 10);
    const places = shown.map((_, place) => place);
    const label = (row) => `${words(row.metric)}${isWhole(row) ? "" : ` · ${row.segment}`} · ${day(row.date)}`;
    parts.push(block("How far from the expected range", chart("Anomalies against their expected range", 56 + shown.length * 30, [{
      type: "scatter", mode: "markers", x: shown.map(off), y: places, marker: { size: 12, color: shown.map((row) => color(off(row) > 0 ? "accent" : "second")) },
      hovertext: shown.map((row) => plain(`${label(row)}: ${figure(row.value)}, expected ${figure(row.low)} to ${figure(row.high)}`)), hoverinfo: "text",
    }], {
      shapes: [{ type: "rect", xref: "x", yref: "paper", x0: -1, x1: 1, y0: 0, y1: 1, fillcolor: color("soft"), line: { width: 0 }, layer: "below" }],
      annotations: [{ x: 0, y: 1, yref: "paper", yanchor: "bottom", text: "expected", showarrow: false, font: { color: color("muted"), size: 12 } }],
      margin: { l: 8, r: 12, t: 24, b: 8 }, xaxis: axis({ showticklabels: false, zeroline: false, showgrid: false }),
      yaxis: axis({ range: [shown.length - 0.5, -0.5], tickvals: places, ticktext: shown.map((row) => plain(shortened(label(row), isNarrow() ? 22 : 46))), zeroline: false, tickfont: { color: color("ink"), size: 12.5 } }),
    })), h("div", { class: "grid events" }, rows.map((row) => h("div", { class: "block" },
      h("h3", {}, `${day(row.date)} · ${words(row.metric)} `, isWhole(row) ? null : h("span", { class: "tag" }, row.segment)),
      h("p", { class: "say" }, h("b", {}, figure(row.value)), `, expected ${figure(row.low)} to ${figure(row.high)} (${words(row.severity ?? "no severity")}). `,
        row.explained_by ? `Likely reason: ${row.explained_by}.` : "No segment explains it."),
      examplesOf(examples.filter((found) => found.date === row.date && found.metric === row.metric))))));
  }
  const kinds = view.rows("unusual");
  const sessions = view.rows("unusual_sessions");
  if (!kinds.length) parts.push(note(view.missing("unusual") ?? "No session of this period was unusual."));
  else {
    parts.push(grid(
      block("Unusual sessions, by kind", bars("Unusual sessions by kind", kinds, { label: (row) => words(row.kind), value: (row) => row.sessions, tint: "second", hover: (row) => `${words(row.kind)} (${row.category}): ${count(row.sessions)} sessions` })),
      block("Examples", sessions.length ? table([
        { title: "Why", cell: (row) => h("span", {}, h("span", { class: "tag" }, words(row.kind)), ` ${row.detail ?? ""}`) },
        { title: "Session", cell: (row) => h("span", {}, `${day(row.date)}, ${row.event_count} events `, h("code", {}, row.session_id)) },
      ], sessions) : note("They are all of visitors that do not count (bots and test users)."))));
  }
  return parts;
}

const isWhole = (row) => /^\(?(all|total)?\)?$/.test(row.segment ?? "");
const figure = (value) => (Math.abs(value) < 1 ? value.toPrecision(2) : short.format(value));

const examplesOf = (sessions) => table([
  { title: "Sessions of that day", cell: (row) => h("span", {}, `${row.entry_page ?? "–"} → ${row.exit_page ?? "–"} `, h("code", {}, row.session_id)) },
  { title: "Events", number: true, cell: (row) => count(row.event_count) },
  { title: "Duration", number: true, cell: (row) => formatted("seconds", row.duration_seconds) },
], sessions);

function quality(view) {
  const { quality: found } = view.document;
  const checks = sum(found.gates, "checks");
  const passed = sum(found.gates, "passed");
  const newest = found.newest.find((row) => row.site_id === view.site.id)?.newest;
  const behind = newest ? (new Date(found.made_at) - new Date(newest)) / 1000 : null;
  const [run] = found.runs;
  const fact = (value, label, look) => h("div", {}, h("b", { class: look ?? null }, value), h("span", {}, label));
  return [
    h("div", { class: "facts" },
      fact(checks ? `${count(passed)} / ${count(checks)}` : "–", "checks hold in the published run", passed < checks ? "worse" : null),
      behind == null ? null : fact(seconds(Math.max(0, behind)), `from the newest event (${moment(newest)}) to this report`),
      run ? fact(percent(ratio(run.accepted, run.received) ?? 0), `of ${count(run.received)} records received are accepted`) : null,
      run ? fact(count(run.dead), "records refused") : null,
      run ? fact(count(run.pending), "records pending") : null),
    grid(
      block("Checks", found.gates.length ? table([
        { title: "Gate", cell: (row) => row.gate },
        { title: "Hold", number: true, cell: (row) => `${count(row.passed)} of ${count(row.checks)}`, bar: (row) => row.passed / row.checks },
      ], found.gates) : note("No result of a check is kept for the published run.")),
      block("Refused records by reason", found.dead.length ? table([
        { title: "Reason", cell: (row) => words(row.reason) },
        { title: "Records", number: true, cell: (row) => count(row.records), bar: (row) => row.records / found.dead[0].records },
      ], found.dead) : note("No record is refused."))),
    found.broken.length ? block("Checks that do not hold", table([
      { title: "Table", cell: (row) => row.table_name }, { title: "Check", cell: (row) => words(row.check_name) },
      { title: "Severity", cell: (row) => h("span", { class: `tag ${row.severity === "error" ? "worse" : ""}` }, row.severity) },
      { title: "Observed", number: true, cell: (row) => (row.observed == null ? "–" : short.format(row.observed)) },
      { title: "Allowed", number: true, cell: (row) => `${row.allowed_min == null ? "" : `from ${short.format(row.allowed_min)} `}${row.allowed_max == null ? "" : `to ${short.format(row.allowed_max)}`}` || "–" },
    ], found.broken)) : null,
    block("Last runs", found.runs.length ? table([
      { title: "Started", cell: (row) => moment(row.started_at) }, { title: "Job", cell: (row) => words(row.job) },
      { title: "Status", cell: (row) => h("span", { class: `tag ${row.status === "succeeded" ? "better" : ["failed", "refused", "partial"].includes(row.status) ? "worse" : ""}` }, words(row.status)) },
      { title: "Received", number: true, cell: (row) => formatted("count", row.received) }, { title: "Accepted", number: true, cell: (row) => formatted("count", row.accepted) },
      { title: "Repeats", number: true, cell: (row) => formatted("count", row.duplicates) }, { title: "Refused", number: true, cell: (row) => formatted("count", row.dead) },
      { title: "Took", number: true, cell: (row) => formatted("seconds", row.seconds) },
    ], found.runs) : note("No run is recorded.")),
    note(`The numbers are those of the tables published ${moment(found.published.at)} (batch ${found.published.batch}).`),
  ];
}

const SECTIONS = { kpis, users, funnels, retention, paths, pages, speed, sources, attribution, devices, geography, churn, anomalies, quality };
