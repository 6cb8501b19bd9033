"use strict";
// Light or dark, before anything is painted: what was chosen last, else what the system prefers.

const darkWanted = window.matchMedia("(prefers-color-scheme: dark)");

function kept(theme) {
  try {
    if (theme) localStorage.setItem("report-theme", theme);
    return localStorage.getItem("report-theme");
  } catch {
    return null; // a page opened as a file may have no storage
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

setTheme(kept() ?? (darkWanted.matches ? "dark" : "light"));
