// Runs before the first paint: the theme the reader chose, else the system's.
(function () {
  "use strict";
  var root = document.documentElement;
  var system = window.matchMedia("(prefers-color-scheme: dark)");
  function chosen() {
    try { return localStorage.getItem("portal-theme"); } catch (error) { return null; }
  }
  function apply() {
    var theme = chosen();
    root.setAttribute("data-bs-theme", theme === "light" || theme === "dark" ? theme : system.matches ? "dark" : "light");
  }
  root.classList.add("js");
  apply();
  system.addEventListener("change", apply);
  window.portalTheme = {
    toggle: function () {
      var next = root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark";
      try {
        // Choosing what the system says anyway means: follow the system again.
        if ((next === "dark") === system.matches) localStorage.removeItem("portal-theme");
        else localStorage.setItem("portal-theme", next);
      } catch (error) { /* no storage: for this page only */ }
      root.setAttribute("data-bs-theme", next);
    },
  };
})();
