// One function a section: what it shows of the chosen site and period. `view` gives rows as objects by column name.

function kpis(view) {
  const rows = view.rows("kpis");
  if (!rows.length) return [note(view.missing("kpis") ?? "No KPI has a value in this period.")];
  const earlier = new Map(view.before("kpis").map((row) => [`${row.kpi}\n${row.dimension}`, row.value]));
  const aimed = rows.filter((row) => row.target != null);
  const isInstant = (row) => row.unit === "unix seconds"; // has no average
  const limit = { at_least: "≥ ", at_most: "≤ " };
  return [
    aimed.length
      ? say(
          `${aimed.filter((row) => row.status === "met").length} of ${aimed.length} targets are met on the last day of the period.`,
        )
      : null,
    table(
      [
        {
          title: "KPI",
          cell: (row) => `${sentence(words(row.kpi))}${row.dimension === "(all)" ? "" : ` · ${row.dimension}`}`,
        },
        { title: "Last day", number: true, cell: (row) => inUnit(row.latest, row.unit) },
        {
          title: "Target",
          number: true,
          cell: (row) => (row.target == null ? "–" : `${limit[row.target_kind] ?? ""}${inUnit(row.target, row.unit)}`),
        },
        {
          title: "",
          number: true,
          cell: (row) =>
            row.target == null
              ? ""
              : h("span", { class: `tag ${row.status === "met" ? "better" : "worse"}` }, row.status),
        },
        { title: "Daily average", number: true, cell: (row) => (isInstant(row) ? "–" : inUnit(row.value, row.unit)) },
        {
          title: "Before",
          number: true,
          cell: (row) => (isInstant(row) ? "–" : inUnit(earlier.get(`${row.kpi}\n${row.dimension}`), row.unit)),
        },
      ],
      rows,
    ),
  ];
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
    parts.push(
      block(
        "How far from the expected range",
        chart(
          "Anomalies against their expected range",
          56 + shown.length * 30,
          [
            {
              type: "scatter",
              mode: "markers",
              x: shown.map(off),
              y: places,
              marker: { size: 12, color: shown.map((row) => color(off(row) > 0 ? "accent" : "second")) },
              hovertext: shown.map((row) =>
                plain(
                  `${label(row)}: ${figure(row, row.value)}, expected ${figure(row, row.low)} to ${figure(row, row.high)}`,
                ),
              ),
              hoverinfo: "text",
            },
          ],
          {
            shapes: [
              {
                type: "rect",
                xref: "x",
                yref: "paper",
                x0: -1,
                x1: 1,
                y0: 0,
                y1: 1,
                fillcolor: color("soft"),
                line: { width: 0 },
                layer: "below",
              },
            ],
            annotations: [
              {
                x: 0,
                y: 1,
                yref: "paper",
                yanchor: "bottom",
                text: "expected",
                showarrow: false,
                font: { color: color("muted"), size: 12 },
              },
            ],
            margin: { l: 8, r: 12, t: 24, b: 8 },
            xaxis: axis({ showticklabels: false, zeroline: false, showgrid: false }),
            yaxis: axis({
              range: [shown.length - 0.5, -0.5],
              tickvals: places,
              ticktext: shown.map((row) => plain(shortened(label(row), isNarrow() ? 22 : 46))),
              zeroline: false,
              tickfont: { color: color("ink"), size: 12.5 },
            }),
          },
        ),
      ),
      h(
        "div",
        { class: "grid events" },
        rows.map((row) =>
          h(
            "div",
            { class: "block" },
            h(
              "h3",
              {},
              `${day(row.date)} · ${words(row.metric)} `,
              isWhole(row) ? null : h("span", { class: "tag" }, row.segment),
            ),
            h(
              "p",
              { class: "say" },
              h("b", {}, figure(row, row.value)),
              `, expected ${figure(row, row.low)} to ${figure(row, row.high)} by the ${row.compared_days} ${COMPARED[row.compared_with] ?? "days"} before; ${row.severity}${row.since < row.date ? `, since ${day(row.since)}` : ""}. `,
              !isWhole(row)
                ? null
                : row.explained_by
                  ? `Likely reason: ${row.explained_by}.`
                  : "No segment holds more of it than its usual share.",
            ),
            examplesOf(examples.filter((found) => found.date === row.date && found.metric === row.metric)),
          ),
        ),
      ),
    );
  }
  const kinds = view.rows("unusual");
  const sessions = view.rows("unusual_sessions");
  if (!kinds.length) parts.push(note(view.missing("unusual") ?? "No session of this period was unusual."));
  else {
    parts.push(
      grid(
        block(
          "Unusual sessions, by kind",
          bars("Unusual sessions by kind", kinds, {
            label: (row) => words(row.kind),
            value: (row) => row.sessions,
            tint: "second",
            hover: (row) => `${words(row.kind)} (${row.category}): ${count(row.sessions)} sessions`,
          }),
        ),
        block(
          "Examples",
          sessions.length
            ? table(
                [
                  {
                    title: "Why",
                    cell: (row) => h("span", {}, h("span", { class: "tag" }, words(row.kind)), ` ${row.detail ?? ""}`),
                  },
                  {
                    title: "Session",
                    cell: (row) =>
                      h("span", {}, `${day(row.date)}, ${row.event_count} events `, h("code", {}, row.session_id)),
                  },
                ],
                sessions,
              )
            : note("They are all of visitors that do not count (bots and test users)."),
        ),
      ),
    );
  }
  return parts;
}

const isWhole = (row) => row.segment === "(all)";
const figure = (row, value) =>
  /rate|share/.test(row.metric) ? percent(value) : /load/.test(row.metric) ? milliseconds(value) : count(value);
const COMPARED = { same_weekday: "same weekdays", trailing_days: "days" };

const examplesOf = (sessions) =>
  table(
    [
      {
        title: "Sessions of that day",
        cell: (row) =>
          h("span", {}, `${row.entry_page ?? "–"} → ${row.exit_page ?? "–"} `, h("code", {}, row.session_id)),
      },
      { title: "Events", number: true, cell: (row) => count(row.event_count) },
      { title: "Duration", number: true, cell: (row) => formatted("seconds", row.duration_seconds) },
    ],
    sessions,
  );

function quality(view) {
  const { quality: found } = view.document;
  const checks = sum(found.gates, "checks");
  const passed = sum(found.gates, "passed");
  const newest = found.newest.find((row) => row.site_id === view.site.id)?.newest;
  const behind = newest ? (new Date(found.made_at) - new Date(newest)) / 1000 : null;
  const [run] = found.runs;
  const fact = (value, label, look) => h("div", {}, h("b", { class: look ?? null }, value), h("span", {}, label));
  return [
    h(
      "div",
      { class: "facts" },
      fact(
        checks ? `${count(passed)} / ${count(checks)}` : "–",
        "checks hold in the published run",
        passed < checks ? "worse" : null,
      ),
      behind == null
        ? null
        : fact(seconds(Math.max(0, behind)), `from the newest event (${moment(newest)}) to this report`),
      run
        ? fact(
            percent(ratio(run.accepted, run.received) ?? 0),
            `of ${count(run.received)} records received are accepted`,
          )
        : null,
      run ? fact(count(run.dead), "records refused") : null,
      run ? fact(count(run.pending), "records pending") : null,
    ),
    grid(
      block(
        "Checks",
        found.gates.length
          ? table(
              [
                { title: "Gate", cell: (row) => row.gate },
                {
                  title: "Hold",
                  number: true,
                  cell: (row) => `${count(row.passed)} of ${count(row.checks)}`,
                  bar: (row) => row.passed / row.checks,
                },
              ],
              found.gates,
            )
          : note("No result of a check is kept for the published run."),
      ),
      block(
        "Refused records by reason",
        found.dead.length
          ? table(
              [
                { title: "Reason", cell: (row) => words(row.reason) },
                {
                  title: "Records",
                  number: true,
                  cell: (row) => count(row.records),
                  bar: (row) => row.records / found.dead[0].records,
                },
              ],
              found.dead,
            )
          : note("No record is refused."),
      ),
    ),
    found.broken.length
      ? block(
          "Checks that do not hold",
          table(
            [
              { title: "Table", cell: (row) => row.table_name },
              { title: "Check", cell: (row) => words(row.check_name) },
              {
                title: "Severity",
                cell: (row) => h("span", { class: `tag ${row.severity === "error" ? "worse" : ""}` }, row.severity),
              },
              {
                title: "Observed",
                number: true,
                cell: (row) => (row.observed == null ? "–" : short.format(row.observed)),
              },
              {
                title: "Allowed",
                number: true,
                cell: (row) =>
                  `${row.allowed_min == null ? "" : `from ${short.format(row.allowed_min)} `}${row.allowed_max == null ? "" : `to ${short.format(row.allowed_max)}`}` ||
                  "–",
              },
            ],
            found.broken,
          ),
        )
      : null,
    block(
      "Last runs",
      found.runs.length
        ? table(
            [
              { title: "Started", cell: (row) => moment(row.started_at) },
              { title: "Job", cell: (row) => words(row.job) },
              {
                title: "Status",
                cell: (row) =>
                  h(
                    "span",
                    {
                      class: `tag ${row.status === "succeeded" ? "better" : ["failed", "refused", "partial"].includes(row.status) ? "worse" : ""}`,
                    },
                    words(row.status),
                  ),
              },
              { title: "Received", number: true, cell: (row) => formatted("count", row.received) },
              { title: "Accepted", number: true, cell: (row) => formatted("count", row.accepted) },
              { title: "Repeats", number: true, cell: (row) => formatted("count", row.duplicates) },
              { title: "Refused", number: true, cell: (row) => formatted("count", row.dead) },
              { title: "Took", number: true, cell: (row) => formatted("seconds", row.seconds) },
            ],
            found.runs,
          )
        : note("No run is recorded."),
    ),
    note(
      `The numbers are those of the tables published ${moment(found.published.at)} (batch ${found.published.batch}).`,
    ),
  ];
}

const SECTIONS = {
  kpis,
  users,
  funnels,
  retention,
  paths,
  pages,
  speed,
  sources,
  attribution,
  devices,
  geography,
  churn,
  anomalies,
  quality,
};
