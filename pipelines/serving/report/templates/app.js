// The chosen site and period, and drawing what belongs to them.

const content = JSON.parse(document.getElementById("document").textContent);
const KINDS = { day: "Day", week: "7 days", month: "30 days" };
const by = (id) => document.getElementById(id);

const chosen = { site: content.sites[0], kind: "week", back: 0, options: {} };
const periodsOf = (kind) => chosen.site.periods.filter((period) => period.kind === kind);

function view() {
  const period = periodsOf(chosen.kind)[chosen.back];
  const rows = (key, name) =>
    (chosen.site.data[key]?.[name] ?? []).map((row) =>
      Object.fromEntries(content.columns[name].map((column, place) => [column, row[place]])),
    );
  return {
    document: content,
    site: chosen.site,
    period,
    rows: (name) => rows(period.key, name),
    before: (name) => (period.before ? rows(period.before, name) : []),
    all: (name) => rows("", name),
    missing: (name) =>
      content.missing[name]
        ? `This is not computed yet: ${content.missing[name].join(", ")} is not among the published tables.`
        : null,
    choose: (name, otherwise) => chosen.options[name] ?? otherwise,
    pills: (name, options, now) =>
      pills(options, now, (option) => {
        chosen.options[name] = option;
        draw();
      }),
  };
}

function card(shown, { card: known, value, before, verdict, change }) {
  const points = shown
    .all("daily")
    .filter((row) => row.date <= shown.period.end)
    .slice(-35)
    .map((row) => ({
      date: row.date,
      value: known.denominator ? ratio(row[known.numerator], row[known.denominator]) : (row[known.numerator] ?? null),
    }));
  if (known.key === "users") {
    const dau = new Map(shown.all("active_users").map((row) => [row.date, row.dau]));
    for (const point of points) point.value = dau.get(point.date) ?? null;
  }
  const delta =
    before == null ? null : [h("span", { class: verdict }, change), ` from ${formatted(known.format, before)}`];
  return h(
    "div",
    { class: "card", title: known.meaning },
    h("span", { class: "name" }, known.label),
    h("span", { class: "value" }, formatted(known.format, value)),
    h("span", { class: "delta" }, delta),
    sparkline(points, shown.period.start),
  );
}

function drawFrame(shown) {
  const { period, site } = shown;
  const periods = periodsOf(chosen.kind);
  by("over").textContent = [
    site.id,
    period.label,
    period.before ? `compared with ${period.before_label}` : null,
    site.timezone,
  ]
    .filter(Boolean)
    .join(" · ");
  by("headline").textContent = period.headline;
  by("changes").replaceChildren(
    ...[...period.changes, period.partial].filter(Boolean).map((text) => h("li", {}, text)),
  );
  by("period").textContent = period.label;
  by("older").disabled = chosen.back >= periods.length - 1;
  by("newer").disabled = chosen.back === 0;
  document.title = `${site.id}: ${period.label}`;
  by("kinds").replaceChildren(
    ...Object.entries(KINDS)
      .filter(([kind]) => periodsOf(kind).length)
      .map(([kind, label]) =>
        h(
          "button",
          {
            type: "button",
            "data-kind": kind,
            "aria-pressed": String(kind === chosen.kind),
            onclick: () => choose({ kind, back: 0 }),
          },
          label,
        ),
      ),
  );
  by("cards").replaceChildren(
    ...content.cards
      .map((known, place) => card(shown, { card: known, ...period.cards[place] }))
      .filter((_, place) => period.cards[place].value != null),
  );
}

function draw() {
  delete document.documentElement.dataset.ready;
  const shown = view();
  drawFrame(shown);
  for (const element of document.querySelectorAll(".chart")) if (element.dataset.drawn) Plotly.purge(element);
  for (const [id, section] of Object.entries(SECTIONS)) {
    const gone = content.notes[id];
    by(`${id}-body`).replaceChildren(...(gone ? [note(gone)] : section(shown)).filter(Boolean));
  }
  return drawCharts();
}

const drawCharts = () =>
  plotlyReady
    .then(() =>
      Promise.all(
        [...document.querySelectorAll(".chart")].filter((element) => element.draw).map((element) => element.draw()),
      ),
    )
    .then(() => {
      document.documentElement.dataset.ready = "yes";
    });

function choose(change) {
  Object.assign(chosen, change);
  if (!periodsOf(chosen.kind).length) chosen.kind = chosen.site.periods[0].kind;
  chosen.back = Math.min(chosen.back, periodsOf(chosen.kind).length - 1);
  draw();
}

// --- Light and dark, print ---

darkWanted.addEventListener("change", () => {
  if (!kept()) {
    setTheme(darkWanted.matches ? "dark" : "light");
    draw();
  }
});
by("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  kept(theme);
  setTheme(theme);
  draw();
});

let themeBefore = null;
window.addEventListener("beforeprint", () => {
  themeBefore = document.documentElement.dataset.theme;
  setTheme("light");
  printing = true;
  draw();
});
window.addEventListener("afterprint", () => {
  printing = false;
  setTheme(themeBefore ?? "light");
  draw();
});

by("print").addEventListener("click", () => window.print());
by("site").addEventListener("change", () => choose({ site: content.sites[by("site").selectedIndex] }));
by("older").addEventListener("click", () => choose({ back: chosen.back + 1 }));
by("newer").addEventListener("click", () => choose({ back: chosen.back - 1 }));
by("site").selectedIndex = 0;
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (width < 600 !== window.innerWidth < 600) draw();
  width = window.innerWidth;
});
draw();
