"use strict";
// Numbers and words as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const count = (value) => (value >= 1e6 ? compact.format(value) : whole.format(value));
const percent = (value) => `${(value * 100).toFixed(Math.abs(value) < 0.0995 ? 1 : 0)}%`;
const decimal = (value) => value.toFixed(1);

function seconds(value) {
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${String(Math.round(value % 60) % 60).padStart(2, "0")} s`;
  return value < 172800 ? `${short.format(value / 3600)} h` : `${short.format(value / 86400)} days`;
}

const milliseconds = (value) => (value < 1000 ? `${whole.format(value)} ms` : `${(value / 1000).toFixed(2)} s`);

const FORMATS = { count, percent, decimal, seconds, milliseconds };
const formatted = (format, value) => (value == null ? "–" : FORMATS[format](value));

// A number in its own unit, as the contract names it.
function inUnit(value, unit) {
  if (value == null) return "–";
  if (unit === "s") return seconds(value);
  if (unit === "ms") return milliseconds(value);
  if (unit === "%") return `${short.format(value)}%`;
  if (unit === "ratio") return percent(value);
  if (unit === "unix seconds") return moment(new Date(value * 1000).toISOString());
  return Math.abs(value) < 10 && !Number.isInteger(value) ? value.toFixed(2) : count(value);
}

const ratio = (part, of) => (of ? part / of : null);
const sum = (rows, column) => rows.reduce((total, row) => total + row[column], 0);

function day(iso, withYear) {
  const options = { day: "numeric", month: "short", timeZone: "UTC", ...(withYear ? { year: "numeric" } : {}) };
  return new Intl.DateTimeFormat("en-GB", options).format(new Date(iso.slice(0, 10)));
}

const moment = (iso) => `${day(iso, true)}, ${iso.slice(11, 16)} UTC`;
const words = (name) => String(name).replaceAll("_", " ");
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// Long labels lose their middle: the end of a path says more than its middle.
function shortened(label, most) {
  const text = String(label);
  return text.length <= most ? text : `${text.slice(0, Math.ceil(most / 2) - 1)}…${text.slice(-Math.floor(most / 2))}`;
}

// Plotly reads a few HTML tags in texts; what comes from users must not be read so.
const plain = (label) => String(label).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
