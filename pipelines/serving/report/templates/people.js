// One function a section: what it shows of the chosen site and period. `view` gives rows as objects by column name.

const TIERS = ["power", "core", "regular", "casual", "at_risk", "(none)"];
const LENGTHS = { day: "Days", week: "Weeks", month: "Months" };

function users(view) {
  const rows = view.all("active_users").filter((row) => row.date <= view.period.end);
  if (!rows.length) return [note(view.missing("active_users") ?? "Nobody has been active yet.")];
  const last = rows[rows.length - 1];
  const dates = rows.map((row) => row.date);
  const top = Math.max(...rows.map((row) => row.mau));
  const lines = [
    ["mau", "MAU", "fourth"],
    ["wau", "WAU", "third"],
    ["dau", "DAU", "accent"],
  ];
  const line = chart(
    "Daily, weekly and monthly active users",
    280,
    lines.map(([name, label, tint]) => ({
      type: "scatter",
      mode: rows.length > 1 ? "lines" : "markers",
      x: dates,
      y: rows.map((row) => row[name]),
      name: label,
      line: { color: color(tint), width: 2.25 },
      hovertemplate: `%{x|%-d %b}: %{y:,} ${label}<extra></extra>`,
    })),
    {
      margin: { l: 8, r: 74, t: 10, b: 8 },
      xaxis: axis({ showgrid: false, tickformat: "%-d %b", nticks: isNarrow() ? 4 : 8, range: [dates[0], last.date] }),
      yaxis: axis({ rangemode: "tozero", nticks: 5 }),
      hovermode: "x",
      annotations: endLabels(
        lines.map(([name, label, tint]) => ({
          x: last.date,
          y: last[name],
          text: `${label} ${count(last[name])}`,
          tint,
        })),
        top,
        240,
      ),
    },
  );
  const sticky = chart(
    "Stickiness: daily over monthly active users",
    280,
    [
      {
        type: "scatter",
        mode: rows.length > 1 ? "lines" : "markers",
        x: dates,
        y: rows.map((row) => row.stickiness),
        line: { color: color("second"), width: 2.25 },
        hovertemplate: "%{x|%-d %b}: %{y:.0%}<extra></extra>",
      },
    ],
    {
      margin: { l: 8, r: 46, t: 10, b: 8 },
      xaxis: axis({ showgrid: false, tickformat: "%-d %b", nticks: isNarrow() ? 4 : 6, range: [dates[0], last.date] }),
      yaxis: axis({ rangemode: "tozero", tickformat: ".0%", nticks: 5 }),
      annotations: [endLabel(last.date, last.stickiness, percent(last.stickiness), "second")],
    },
  );
  return [
    say(
      `On ${day(last.date)}, ${count(last.dau)} people were active; ${count(last.wau)} in the 7 days and ${count(last.mau)} in the 30 days to it. On a day, ${percent(last.stickiness)} of the month's people come.`,
    ),
    h(
      "div",
      { class: "grid" },
      block("People active on a day, in 7 days, in 30 days", line),
      block("Stickiness (DAU / MAU)", sticky),
    ),
    block("Who came and who stayed away", ...lifecycle(view)),
  ];
}

function lifecycle(view) {
  const all = view.all("lifecycle");
  const there = Object.keys(LENGTHS).filter((length) => all.some((row) => row.length === length));
  if (!there.length) return [note(view.missing("lifecycle") ?? "No period of this site has anybody in it yet.")];
  const chosen = view.choose("lifecycle", there.includes("week") ? "week" : there[0]);
  const rows = all.filter((row) => row.length === chosen && row.period_start <= view.period.end);
  const kinds = [
    ["returning", "accent"],
    ["new", "third"],
    ["resurrected", "second"],
    ["dormant", "fourth"],
  ];
  const drawn = chart(
    "New, returning, resurrected and dormant people",
    270,
    kinds.map(([name, tint]) => ({
      type: "bar",
      x: rows.map((row) => row.period_start),
      y: rows.map((row) => row[name]),
      name: sentence(name),
      marker: { color: color(tint) },
      hovertemplate: `${sentence(name)} from %{x|%-d %b}: %{y:,}<extra></extra>`,
    })),
    {
      barmode: "relative",
      showlegend: true,
      legend: { orientation: "h", x: 0, y: 1.14, traceorder: "normal" },
      margin: { l: 8, r: 8, t: 34, b: 8 },
      xaxis: axis({
        type: "category",
        showgrid: false,
        tickvals: rows.map((row) => row.period_start),
        ticktext: rows.map((row, place) =>
          place % Math.ceil(rows.length / (isNarrow() ? 4 : 13)) ? "" : day(row.period_start),
        ),
      }),
      yaxis: axis({ nticks: 5 }),
    },
  );
  return [view.pills("lifecycle", Object.fromEntries(there.map((length) => [length, LENGTHS[length]])), chosen), drawn];
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
  const drawn = chart(
    `Retention by ${unit} cohort`,
    48 + starts.length * 27,
    [
      {
        type: "heatmap",
        x: places,
        y: starts.map((_, place) => place),
        z: cells.map((line) => line.map((cell) => (cell ? cell.retention : null))),
        zmin: 0,
        zmax: top,
        colorscale: [
          [0, color("faint")],
          [1, color("accent")],
        ],
        showscale: false,
        xgap: 2,
        ygap: 2,
        hoverongaps: false,
        hovertext: cells.map((line) =>
          line.map((cell) =>
            cell
              ? `First active ${day(cell.cohort_start, true)}: ${count(cell.active)} of ${count(cell.size)} active ${cell.n} ${unit}s later`
              : "",
          ),
        ),
        hoverinfo: "text",
      },
    ],
    {
      margin: { l: 8, r: 8, t: 34, b: 8 },
      xaxis: axis({
        side: "top",
        tickvals: places,
        ticktext: places.map((n) => `+${n}`),
        showgrid: false,
        zeroline: false,
        ticks: "",
      }),
      yaxis: axis({
        autorange: "reversed",
        tickvals: starts.map((_, place) => place),
        showgrid: false,
        zeroline: false,
        ticks: "",
        ticktext: starts.map(
          (start) => `${day(start)} · ${count(rows.find((row) => row.cohort_start === start).size)}`,
        ),
      }),
      annotations: cells.flatMap((line, y) =>
        line.filter(Boolean).map((cell) => ({
          x: cell.n,
          y,
          showarrow: false,
          text: `${Math.round(cell.retention * 100)}%`,
          font: { size: 11.5, color: color(cell.retention > top * 0.55 ? "paper" : "ink") },
        })),
      ),
    },
  );
  const next = rows.filter((row) => row.n === 1);
  const kept = next.length ? ratio(sum(next, "active"), sum(next, "size")) : null;
  return [
    say(
      `Of everyone who first came in the ${unit}s shown, ${percent(kept)} were active again in the ${unit} after. A row is a cohort with its size.`,
    ),
    view.pills("retention", Object.fromEntries(there.map((length) => [length, LENGTHS[length]])), chosen),
    h("div", { class: "wide" }, drawn),
  ];
}

function churn(view) {
  const people = view.all("churn");
  const tiers = view.rows("tiers");
  const parts = [];
  if (!people.length) parts.push(note(view.missing("churn") ?? "Nobody has been active yet, so nobody can be lost."));
  else {
    const risky = sum(
      people.filter((row) => row.at_risk),
      "users",
    );
    const fading = sum(
      people.filter((row) => row.trend === "declining" && !row.at_risk),
      "users",
    );
    const levels = [...new Set(people.map((row) => row.risk))].sort((a, b) => a - b);
    const from = Math.min(...people.filter((row) => row.at_risk).map((row) => row.risk), 1.1);
    const at = (level) =>
      sum(
        people.filter((row) => row.risk === level),
        "users",
      );
    const present = TIERS.filter((tier) => people.some((row) => row.tier === tier)).map((tier) => ({
      tier,
      users: sum(
        people.filter((row) => row.tier === tier),
        "users",
      ),
    }));
    parts.push(
      say(
        `${count(risky)} of ${count(sum(people, "users"))} people ever active (${percent(risky / sum(people, "users"))}) are at risk on ${day(people[0].as_of)}; ${count(fading)} more come less often than the week before.`,
      ),
      grid(
        block(
          "People by churn risk",
          chart(
            "People by churn risk",
            250,
            [
              {
                type: "bar",
                x: levels,
                y: levels.map(at),
                width: 0.085,
                marker: { color: levels.map((level) => color(level >= from ? "second" : "accent")) },
                text: levels.map((level) => count(at(level))),
                textposition: "outside",
                cliponaxis: false,
                hovertemplate: "risk from %{x:.1f}: %{y:,} people<extra></extra>",
              },
            ],
            {
              xaxis: axis({ showgrid: false, range: [-0.08, 1.08], dtick: 0.2, tickformat: ".1f" }),
              yaxis: axis({ visible: false }),
              margin: { l: 8, r: 8, t: 24, b: 8 },
              annotations: [
                {
                  x: from - 0.045,
                  y: 1.04,
                  yref: "paper",
                  xanchor: "left",
                  text: "at risk →",
                  showarrow: false,
                  font: { color: color("second"), size: 12.5 },
                },
              ].filter(() => from <= 1),
            },
          ),
        ),
        block(
          "People by tier",
          bars("People by tier", present, { label: (row) => words(row.tier), value: (row) => row.users }),
        ),
      ),
    );
  }
  if (tiers.length) {
    const order = TIERS.filter((tier) => tiers.some((row) => row.tier === tier)).map((tier) =>
      tiers.find((row) => row.tier === tier),
    );
    const part = share(order, "users");
    parts.push(
      block(
        `Engagement in the 30 days to ${day(view.period.end)}`,
        bars("People by engagement tier", order, {
          label: (row) => words(row.tier),
          value: (row) => row.users,
          format: (value, row) => `${count(value)} · ${percent(part(row))}`,
        }),
      ),
    );
  } else parts.push(note(view.missing("tiers") ?? "Nobody was active in the 30 days to the end of this period."));
  return parts;
}
