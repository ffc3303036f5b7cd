// Light or dark, as chosen on the hub's pages: the same key in the browser's storage.
"use strict";
(() => {
  const KEY = "jupyterhub-bs-theme";
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const apply = () => {
    const chosen = stored();
    const known = chosen === "light" || chosen === "dark";
    root.dataset.bsTheme = known ? chosen : system.matches ? "dark" : "light";
  };

  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    const toggle = document.getElementById("dark-theme-toggle");
    toggle.addEventListener("click", () => {
      const other = root.dataset.bsTheme === "dark" ? "light" : "dark";
      root.dataset.bsTheme = other;
      try {
        localStorage.setItem(KEY, other);
      } catch {
        // Without storage the choice lasts as long as the page.
      }
    });
  });
})();
