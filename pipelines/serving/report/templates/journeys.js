// One function a section: what it shows of the chosen site and period. `view` gives rows as objects by column name.

function funnels(view) {
  const rows = view.rows("funnels");
  const [totals] = view.rows("totals");
  const parts = [];
  if (totals?.convert_median != null) {
    parts.push(
      say(
        `Half of the sessions that converted did so within ${seconds(totals.convert_median)} of their start, nine in ten within ${seconds(totals.convert_p90)}.`,
      ),
    );
  } else if (!view.missing("totals"))
    parts.push(note("No session converted in this period, so there is no time to convert."));
  if (!rows.length) return [...parts, note(view.missing("funnels") ?? "No journey of this period is in a funnel.")];
  const names = [...new Set(rows.map((row) => row.funnel))];
  const earlier = new Map(
    view.before("funnels").map((row) => [`${row.funnel}\n${row.step_number}`, ratio(row.count, row.journeys)]),
  );
  for (const name of names) {
    const steps = rows.filter((row) => row.funnel === name);
    const drawn = bars(`Funnel ${name}`, steps, {
      label: (row) => `${row.step_number} ${row.step}`,
      value: (row) => row.count,
      format: (value, row) => `${count(value)} · ${percent(ratio(value, row.journeys) ?? 0)}`,
      hover: (row) => `${row.step}: ${count(row.count)} of ${count(row.journeys)} journeys`,
    });
    const lost = steps.map((row, place) => ({
      ...row,
      lost: place ? Math.max(0, steps[place - 1].count - row.count) : 0,
      rate: place ? ratio(Math.max(0, steps[place - 1].count - row.count), steps[place - 1].count) : null,
    }));
    const worst = lost.reduce((most, row) => (row.lost > (most?.lost ?? 0) ? row : most), null);
    const timed = steps.some((row) => row.median_seconds != null);
    const columns = [
      { title: "Step", cell: (row) => row.step },
      {
        title: "Lost before it",
        number: true,
        cell: (row) => (row.rate == null ? "–" : count(row.lost)),
        bar: (row) => row.rate,
      },
      { title: "Drop-off", number: true, cell: (row) => formatted("percent", row.rate) },
      ...(earlier.size
        ? [
            {
              title: "Reached, before",
              number: true,
              cell: (row) => formatted("percent", earlier.get(`${name}\n${row.step_number}`)),
            },
          ]
        : []),
      ...(timed
        ? [
            { title: "Time to it, median", number: true, cell: (row) => formatted("seconds", row.median_seconds) },
            { title: "p90", number: true, cell: (row) => formatted("seconds", row.p90_seconds) },
          ]
        : []),
    ];
    parts.push(
      block(
        sentence(words(name)),
        worst
          ? say(
              `The largest loss is before ${worst.step}: ${count(worst.lost)}, ${percent(worst.rate)} of those one step earlier.`,
            )
          : null,
        grid(
          h("div", {}, drawn),
          h(
            "div",
            {},
            table(columns, lost),
            timed ? note("Times are the mean of the days' medians and p90, weighted by journeys.") : null,
          ),
        ),
      ),
    );
  }
  return parts;
}

function paths(view) {
  const every = view.rows("paths");
  const started = sum(
    every.filter((hop) => hop.step === 1),
    "sessions",
  );
  const hops = every.filter((hop) => hop.sessions >= started * 0.004); // threads of a session or two only blur
  if (!hops.length) return [note(view.missing("paths") ?? "No session of this period has a page view.")];
  const nodes = [
    ...new Map(
      hops.flatMap((hop) => [
        [`${hop.step}\n${hop.from_page}`, hop.from_page],
        [`${hop.step + 1}\n${hop.to_page}`, hop.to_page],
      ]),
    ),
  ];
  const place = new Map(nodes.map(([key], position) => [key, position]));
  const isExit = ([, page]) => page === "(exit)";
  const drawn = chart(
    "Sankey diagram of the first pages of sessions",
    460,
    [
      {
        type: "sankey",
        arrangement: "fixed",
        textfont: { color: color("ink"), size: 12.5 },
        node: {
          align: "left",
          label: nodes.map(([, page]) => plain(shortened(page, 22))),
          pad: 18,
          thickness: 12,
          line: { width: 0 },
          color: nodes.map((node) => color(isExit(node) ? "fourth" : "accent")),
          customdata: nodes.map(([, page]) => plain(page)),
          hovertemplate: "%{customdata}: %{value:,} sessions<extra></extra>",
        },
        link: {
          source: hops.map((hop) => place.get(`${hop.step}\n${hop.from_page}`)),
          target: hops.map((hop) => place.get(`${hop.step + 1}\n${hop.to_page}`)),
          value: hops.map((hop) => hop.sessions),
          color: hops.map((hop) => color(hop.to_page === "(exit)" ? "faint" : "soft")),
          customdata: hops.map((hop) => plain(`${hop.from_page} → ${hop.to_page}`)),
          hovertemplate: "%{customdata}: %{value:,} sessions<extra></extra>",
        },
      },
    ],
    { margin: { l: 8, r: 8, t: 10, b: 14 } },
  );
  const [first] = hops
    .filter((hop) => hop.step === 1 && hop.to_page !== "(exit)")
    .sort((a, b) => b.sessions - a.sessions);
  const left = sum(
    every.filter((hop) => hop.step === 1 && hop.to_page === "(exit)"),
    "sessions",
  );
  const patterns = view.rows("patterns");
  return [
    say(
      `${percent(left / started)} of sessions leave after their first page.${first ? ` The most travelled first step is ${first.from_page} → ${first.to_page}, ${count(first.sessions)} sessions.` : ""}`,
    ),
    block(
      "The first five pages of sessions, from left to right; pages of one folder together",
      h("div", { class: "wide" }, drawn),
    ),
    block(
      "Whole paths",
      patterns.length
        ? table(
            [
              { title: "Path", cell: (row) => row.path },
              {
                title: "Sessions",
                number: true,
                cell: (row) => count(row.sessions),
                bar: (row) => row.sessions / patterns[0].sessions,
              },
              { title: "Converted", number: true, cell: (row) => percent(ratio(row.conversions, row.sessions)) },
            ],
            patterns,
          )
        : note(view.missing("patterns") ?? "No whole path in this period."),
    ),
  ];
}

function pages(view) {
  const rows = view.rows("pages");
  if (!rows.length) return [note(view.missing("pages") ?? "No page was viewed in this period.")];
  const best = (column) =>
    rows
      .filter((row) => row[column] > 0)
      .sort((a, b) => b[column] - a[column] || (a.page < b.page ? -1 : 1))
      .slice(0, 8);
  const list = (title, column, second, none) => {
    const chosen = best(column);
    return block(
      title,
      chosen.length
        ? table(
            [
              { title: "Page", cell: (row) => row.page },
              {
                title: sentence(column),
                number: true,
                cell: (row) => count(row[column]),
                bar: (row) => row[column] / chosen[0][column],
              },
              second,
            ],
            chosen,
          )
        : note(none),
    );
  };
  const entries = best("entries");
  const worst = best("abandonments")[0];
  return [
    say(
      [
        entries.length ? `Most sessions begin on ${entries[0].page}.` : null,
        worst ? `Most that end without a conversion end on ${worst.page}: ${count(worst.abandonments)}.` : null,
      ]
        .filter(Boolean)
        .join(" "),
    ),
    h(
      "div",
      { class: "grid three" },
      list(
        "Entry pages",
        "entries",
        { title: "Bounce", number: true, cell: (row) => formatted("percent", ratio(row.bounces, row.entries)) },
        "No session began in this period.",
      ),
      list(
        "Exit pages",
        "exits",
        { title: "Of views", number: true, cell: (row) => formatted("percent", ratio(row.exits, row.views)) },
        "No session ended in this period.",
      ),
      list(
        "Abandonment pages",
        "abandonments",
        { title: "Of exits", number: true, cell: (row) => formatted("percent", ratio(row.abandonments, row.exits)) },
        "No session was abandoned in this period.",
      ),
    ),
  ];
}

function speed(view) {
  const rows = view.rows("speed");
  const [total] = rows.filter((row) => row.device == null);
  if (!total) return [note(view.missing("speed") ?? "No page view of this period says how long it took to load.")];
  const [earlier] = view.before("speed").filter((row) => row.device == null);
  const devices = rows.filter((row) => row.device != null).sort((a, b) => b.samples - a.samples);
  const places = devices.map((_, place) => place);
  const drawn = chart(
    "Load times by device: p50, p90 and p99",
    64 + devices.length * 44,
    [
      ...devices.map((row, place) => ({
        type: "scatter",
        mode: "lines",
        x: [row.p50, row.p99],
        y: [place, place],
        line: { color: color("line"), width: 6 },
        hoverinfo: "skip",
      })),
      ...[
        ["p50", "accent"],
        ["p90", "second"],
        ["p99", "fourth"],
      ].map(([name, tint]) => ({
        type: "scatter",
        mode: "markers+text",
        x: devices.map((row) => row[name]),
        y: places,
        marker: { size: 12, color: color(tint) },
        text: devices.map((row, place) => (place ? "" : name)),
        textposition: name === "p99" ? "bottom center" : "top center",
        textfont: { color: color(tint), size: 12 },
        cliponaxis: false,
        hovertext: devices.map((row) =>
          plain(`${row.device}, ${name}: ${milliseconds(row[name])} of ${count(row.samples)} page views`),
        ),
        hoverinfo: "text",
      })),
    ],
    {
      xaxis: axis({ ticksuffix: " ms", rangemode: "tozero", nticks: isNarrow() ? 4 : 6 }),
      yaxis: axis({
        range: [devices.length - 0.5, -0.7],
        tickvals: places,
        ticktext: devices.map((row) => plain(row.device)),
        showgrid: false,
        zeroline: false,
        tickfont: { color: color("ink"), size: 12.5 },
      }),
    },
  );
  const slow = view.rows("slow_pages");
  return [
    say(
      `Half of all page views load within ${milliseconds(total.p50)}, nine in ten within ${milliseconds(total.p90)}${earlier ? ` (before: ${milliseconds(earlier.p90)})` : ""}, of ${count(total.samples)} measured.`,
    ),
    grid(
      block("By device", drawn),
      block(
        "Slowest pages (at least 10 page views)",
        slow.length
          ? table(
              [
                { title: "Page", cell: (row) => row.page },
                { title: "p50", number: true, cell: (row) => milliseconds(row.p50) },
                {
                  title: "p90",
                  number: true,
                  cell: (row) => milliseconds(row.p90),
                  bar: (row) => row.p90 / slow[0].p90,
                },
                { title: "Views", number: true, cell: (row) => count(row.samples) },
              ],
              slow.slice(0, 8),
            )
          : note("No page was measured often enough in this period."),
      ),
    ),
  ];
}
