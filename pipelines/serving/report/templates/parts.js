// What sections are made of. Texts enter the page as text nodes only, never as markup.

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

const say = (text) => h("p", { class: "say" }, text);
const note = (text) => h("p", { class: "note" }, text);
const block = (title, ...children) => h("div", { class: "block" }, title ? h("h3", {}, title) : null, ...children);
const grid = (...children) => h("div", { class: "grid" }, ...children);

// columns: {title, cell(row), number, bar(row) as a share of 1}
function table(columns, rows) {
  const head = h(
    "tr",
    {},
    columns.map((column) => h("th", { class: column.number ? "n" : null, scope: "col" }, column.title)),
  );
  const body = rows.map((row) =>
    h(
      "tr",
      {},
      columns.map((column) => {
        const cell = h("td", { class: column.number ? "n" : "text" }, column.cell(row) ?? "–");
        if (column.bar) {
          const filled = h("i", {});
          filled.style.width = `${Math.max(0, Math.min(1, column.bar(row) || 0)) * 100}%`;
          cell.append(h("div", { class: "track" }, filled));
        }
        return cell;
      }),
    ),
  );
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, head), h("tbody", {}, body)));
}

function pills(options, chosen, choose) {
  return h(
    "div",
    { class: "pills", role: "group" },
    Object.entries(options).map(([key, label]) =>
      h("button", { type: "button", "aria-pressed": String(key === chosen), onclick: () => choose(key) }, label),
    ),
  );
}

// --- Charts ---

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const isNarrow = () => !printing && window.innerWidth < 600;
let printing = false;

// Plotly is packed in the page; its script runs only if its hash is the one that the policy names.
const plotlyReady = (async () => {
  const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = h("script", {});
  script.textContent = await new Response(stream).text();
  document.head.append(script);
})();

const axis = (more) => ({
  gridcolor: color("line"),
  zerolinecolor: color("line"),
  linecolor: color("line"),
  fixedrange: true,
  automargin: true,
  tickfont: { color: color("muted"), size: 12 },
  ...more,
});

function chart(description, height, traces, layout) {
  const element = h("div", { class: "chart", role: "img", "aria-label": description });
  element.style.height = `${height}px`;
  element.draw = () => {
    const whole_layout = {
      height,
      margin: { l: 8, r: 8, t: 8, b: 8, pad: 4 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: color("ink") },
      showlegend: false,
      dragmode: false,
      hovermode: "closest",
      bargap: 0.35,
      hoverlabel: {
        bgcolor: color("paper"),
        bordercolor: color("line"),
        font: { color: color("ink"), size: 13 },
        align: "left",
      },
      ...(printing ? { width: Math.min(element.clientWidth || 680, 680) } : {}),
      ...layout,
    };
    return Plotly.newPlot(element, traces, whole_layout, { displayModeBar: false, responsive: !printing }).then(() => {
      element.dataset.drawn = "yes";
    });
  };
  return element;
}

// Bars with their numbers at their ends; `before` is a thin mark of the period before.
function bars(description, rows, { label, value, before, format = count, hover, tint = "accent" }) {
  const most = isNarrow() ? 18 : 28;
  const positions = rows.map((_, position) => position);
  const widest = Math.max(...rows.map((row) => Math.max(value(row), before?.(row) ?? 0)), 0) || 1;
  const room = Math.max(...rows.map((row) => String(format(value(row), row)).length), 1) * 7.2 + 12;
  const traces = [
    {
      type: "bar",
      orientation: "h",
      x: rows.map(value),
      y: positions,
      marker: { color: color(tint) },
      text: rows.map((row) => plain(format(value(row), row))),
      textposition: "outside",
      cliponaxis: false,
      textfont: { color: color("ink"), size: 12.5 },
      hovertext: rows.map((row) => plain(hover?.(row) ?? `${label(row)}: ${format(value(row), row)}`)),
      hoverinfo: "text",
    },
  ];
  if (before) {
    traces.push({
      type: "scatter",
      mode: "markers",
      x: rows.map(before),
      y: positions,
      hoverinfo: "skip",
      marker: { symbol: "line-ns-open", size: 17, line: { width: 2, color: color("ink") }, color: color("ink") },
    });
  }
  return chart(description, 22 + rows.length * 30, traces, {
    margin: { l: 8, r: room, t: 8, b: 8, pad: 4 },
    xaxis: axis({ visible: false, range: [0, widest] }),
    yaxis: axis({
      autorange: "reversed",
      tickvals: positions,
      ticktext: rows.map((row) => plain(shortened(label(row), most))),
      showgrid: false,
      zeroline: false,
      ticks: "",
      tickfont: { color: color("ink"), size: 12.5 },
    }),
  });
}

// A line's name stands at its end instead of in a legend.
const endLabel = (x, y, text, tint, shift = 0) => ({
  x,
  y,
  text,
  xanchor: "left",
  yanchor: "middle",
  xshift: 6,
  yshift: shift,
  showarrow: false,
  font: { color: color(tint), size: 12.5 },
});

// Labels of lines that end close to each other move apart, the higher ones up.
function endLabels(ends, top, height) {
  const sorted = ends.map((end) => ({ ...end, at: (end.y / (top || 1)) * height })).sort((a, b) => a.at - b.at);
  for (let place = 1; place < sorted.length; place += 1) {
    sorted[place].at = Math.max(sorted[place].at, sorted[place - 1].at + 16);
  }
  return sorted.map((end) => endLabel(end.x, end.y, end.text, end.tint, end.at - (end.y / (top || 1)) * height));
}

// The course of a card's number over the last days, without axes; the period's days stand out.
function sparkline(points, from) {
  const known = points.filter((point) => point.value != null);
  if (known.length < 2) return null;
  const namespace = "http://www.w3.org/2000/svg";
  const high = Math.max(...known.map((point) => point.value)) || 1;
  const x = (place) => 2 + (place / (points.length - 1)) * 196;
  const y = (value) => 31 - (value / high) * 28;
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", "0 0 200 34");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = (chosen, tint, width) => {
    const path = document.createElementNS(namespace, "path");
    path.setAttribute(
      "d",
      chosen
        .map((point, place) => `${place ? "L" : "M"}${x(point.place).toFixed(1)},${y(point.value).toFixed(1)}`)
        .join(""),
    );
    path.setAttribute("fill", "none");
    path.setAttribute("stroke", color(tint));
    path.setAttribute("stroke-width", width);
    path.setAttribute("vector-effect", "non-scaling-stroke");
    path.setAttribute("stroke-linecap", "round");
    svg.append(path);
  };
  const placed = points.map((point, place) => ({ ...point, place })).filter((point) => point.value != null);
  line(placed, "trace", 2);
  const inside = placed.filter((point) => point.date >= from);
  line(
    inside.length === 1 ? [inside[0], { ...inside[0], place: inside[0].place + 0.01 }] : inside,
    "accent",
    inside.length === 1 ? 5 : 2,
  );
  return svg;
}
