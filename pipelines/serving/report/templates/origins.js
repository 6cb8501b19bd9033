// One function a section: what it shows of the chosen site and period. `view` gives rows as objects by column name.

const MODELS = ["first", "last", "last_non_direct", "linear", "position", "time_decay"];

const share = (rows, column) => {
  const total = sum(rows, column);
  return (row) => ratio(row[column], total);
};

const countries = new Intl.DisplayNames(["en"], { type: "region" });
const country = (code) => (/^[A-Z]{2}$/.test(code) ? `${countries.of(code)} (${code})` : code);

function segments(view, name, title, description, called = (value) => value) {
  const rows = view.rows(`segments_${name}`);
  if (!rows.length)
    return block(title, note(view.missing(`segments_${name}`) ?? "No countable session in this period."));
  const earlier = new Map(view.before(`segments_${name}`).map((row) => [row.value, row.sessions]));
  const part = share(rows, "sessions");
  return block(
    title,
    bars(description, rows.slice(0, 8), {
      label: (row) => called(row.value),
      value: (row) => row.sessions,
      before: earlier.size ? (row) => earlier.get(row.value) ?? 0 : null,
      format: (value, row) => `${count(value)} · ${percent(part(row))}`,
      hover: (row) =>
        `${called(row.value)}: ${count(row.sessions)} sessions, ${count(row.conversions)} converted (${percent(ratio(row.conversions, row.sessions) ?? 0)})`,
    }),
  );
}

function sources(view) {
  const rows = view.rows("sources");
  const paid = sum(rows, "revenue") > 0;
  return [
    mark(view),
    grid(
      segments(view, "channel", "Sessions by channel", "Sessions by channel"),
      block(
        "Sources and campaigns",
        rows.length
          ? table(
              [
                {
                  title: "Source / medium",
                  cell: (row) =>
                    h(
                      "span",
                      {},
                      `${row.traffic_source} / ${row.traffic_medium} `,
                      row.campaign === "(not set)" ? null : h("span", { class: "tag" }, row.campaign),
                    ),
                },
                {
                  title: "Sessions",
                  number: true,
                  cell: (row) => count(row.sessions),
                  bar: (row) => row.sessions / rows[0].sessions,
                },
                { title: "Converted", number: true, cell: (row) => percent(ratio(row.conversions, row.sessions)) },
                ...(paid ? [{ title: "Revenue", number: true, cell: (row) => count(row.revenue) }] : []),
              ],
              rows,
            )
          : note(view.missing("sources") ?? "No countable session in this period."),
      ),
    ),
  ];
}

function attribution(view) {
  const rows = view.rows("attribution");
  if (!rows.length)
    return [note(view.missing("attribution") ?? "No conversion in this period, so there is no credit to give.")];
  const models = MODELS.filter((model) => rows.some((row) => row.model === model));
  const credit = new Map(rows.map((row) => [`${row.model}\n${row.channel}`, row.conversions]));
  const total = (channel) => models.reduce((all, model) => all + (credit.get(`${model}\n${channel}`) ?? 0), 0);
  const channels = [...new Set(rows.map((row) => row.channel))].sort((a, b) => total(b) - total(a)).slice(0, 8);
  const shown = [
    ["first", "accent", "circle"],
    ["linear", "third", "diamond"],
    ["last", "second", "square"],
  ].filter(([model]) => models.includes(model));
  const places = channels.map((_, place) => place);
  const of = (model, channel) => credit.get(`${model}\n${channel}`) ?? 0;
  const drawn = chart(
    "Conversions credited to channels by the first, linear and last model",
    70 + channels.length * 34,
    [
      ...channels.map((channel, place) => {
        const values = shown.map(([model]) => of(model, channel));
        return {
          type: "scatter",
          mode: "lines",
          x: [Math.min(...values), Math.max(...values)],
          y: [place, place],
          line: { color: color("line"), width: 5 },
          hoverinfo: "skip",
          showlegend: false,
        };
      }),
      ...shown.map(([model, tint, symbol]) => ({
        type: "scatter",
        mode: "markers",
        name: `${sentence(words(model))} touch`.replace("Linear touch", "Linear"),
        x: channels.map((channel) => of(model, channel)),
        y: places,
        marker: { size: 11, color: color(tint), symbol },
        cliponaxis: false,
        hovertext: channels.map((channel) => plain(`${channel}, ${words(model)}: ${of(model, channel).toFixed(1)}`)),
        hoverinfo: "text",
      })),
    ],
    {
      showlegend: true,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      margin: { l: 8, r: 12, t: 36, b: 8 },
      xaxis: axis({ rangemode: "tozero", nticks: isNarrow() ? 4 : 7 }),
      yaxis: axis({
        range: [channels.length - 0.5, -0.5],
        tickvals: places,
        ticktext: channels.map((channel) => plain(shortened(channel, 22))),
        showgrid: false,
        zeroline: false,
        tickfont: { color: color("ink"), size: 12.5 },
      }),
    },
  );
  const moved = [...channels].sort(
    (a, b) => Math.abs(of("first", b) - of("last", b)) - Math.abs(of("first", a) - of("last", a)),
  )[0];
  const difference = of("first", moved) - of("last", moved);
  return [
    say(
      Math.abs(difference) < 1
        ? "All models give the channels nearly the same credit in this period."
        : `${moved} ${difference > 0 ? "begins" : "closes"} more than it ${difference > 0 ? "closes" : "begins"}: ${of("first", moved).toFixed(0)} conversions by first touch, ${of("last", moved).toFixed(0)} by last.`,
    ),
    block("Conversions credited", drawn),
    block(
      null,
      table(
        [
          { title: "Channel", cell: (channel) => channel },
          ...models.map((model) => ({
            title: sentence(words(model)),
            number: true,
            cell: (channel) => of(model, channel).toFixed(1),
          })),
        ],
        channels,
      ),
    ),
  ];
}

const mark = (view) => (view.period.before ? note(`The thin mark in a bar is ${view.period.before_label}.`) : null);

const devices = (view) => [
  mark(view),
  h(
    "div",
    { class: "grid three" },
    segments(view, "device_type", "Device", "Sessions by type of device"),
    segments(view, "browser", "Browser", "Sessions by browser"),
    segments(view, "os", "System", "Sessions by operating system"),
  ),
];

const geography = (view) => [
  mark(view),
  grid(
    segments(view, "country", "Country", "Sessions by country", country),
    segments(view, "region", "Region", "Sessions by region"),
  ),
];
