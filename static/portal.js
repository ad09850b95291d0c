// Small comforts; every page works without them.
(function () {
  "use strict";

  // The reader's time zone, for pages that show instants.
  function tellTimeZone() {
    var zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!zone) return;
    var said = document.cookie.split("; ").some(function (c) { return c === "portal_time_zone=" + encodeURIComponent(zone); });
    if (said) return;
    var secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = "portal_time_zone=" + encodeURIComponent(zone) + "; path=/; max-age=31536000; SameSite=Lax" + secure;
  }

  // A form that a file answers: the page stays, so it says what happens.
  function say(event) {
    var form = event.target;
    if (!form.matches("form[data-says]") || event.defaultPrevented) return;
    form.querySelector("[role=status].form-says").textContent = form.dataset.says;
  }

  // A form that may be sent only once: the second click finds its buttons resting.
  function onSubmit(event) {
    var form = event.target;
    if (!form.matches("form[data-once]") || event.defaultPrevented) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    form.setAttribute("aria-busy", "true");
    // After the submit itself, so that the pressed button's name still travels.
    setTimeout(function () {
      form.querySelectorAll("button:not([type=button])").forEach(function (b) { b.disabled = true; b.classList.add("is-busy"); });
    }, 0);
  }
  // Coming back with the browser's Back button: the page is restored as it was left, so release the form.
  function onPageShow(event) {
    if (!event.persisted) return;
    document.querySelectorAll("form[data-once][data-sent]").forEach(function (form) {
      delete form.dataset.sent;
      form.removeAttribute("aria-busy");
      form.querySelectorAll("button.is-busy").forEach(function (b) { b.disabled = false; b.classList.remove("is-busy"); });
    });
  }

  function onClick(event) {
    var button = event.target.closest ? event.target.closest("[data-theme-toggle], [data-copy], [data-print]") : null;
    if (button) {
      if (button.hasAttribute("data-theme-toggle")) window.portalTheme.toggle();
      else if (button.hasAttribute("data-print")) window.print();
      else copy(button);
    }
    // An open menu closes when the reader clicks elsewhere.
    document.querySelectorAll("details.menu[open]").forEach(function (menu) {
      if (!menu.contains(event.target)) menu.open = false;
    });
  }
  function copy(button) {
    var source = document.getElementById(button.getAttribute("data-copy"));
    var text = source ? ("value" in source ? source.value : source.textContent) : button.getAttribute("data-copy");
    if (!navigator.clipboard) return;
    navigator.clipboard.writeText(text.trim()).then(function () {
      button.classList.add("is-copied");
      setTimeout(function () { button.classList.remove("is-copied"); }, 1500);
    });
  }
  function onKey(event) {
    if (event.key !== "Escape") return;
    document.querySelectorAll("details.menu[open], details.side-toggle[open]").forEach(function (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }

  // Tick every box of a form's selection, or none.
  document.querySelectorAll("[data-pick-all]").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", function () {
      var boxes = Array.from(document.querySelectorAll("input[type=checkbox][form=" + button.dataset.pickAll + "]"));
      var all = boxes.every(function (box) { return box.checked; });
      boxes.forEach(function (box) { box.checked = !all; });
    });
  });

  // A form that came back: the reader goes on at the first field that needs mending.
  var wrong = document.querySelector("main [aria-invalid=true], main [data-wrong]");
  if (wrong) wrong.focus();

  tellTimeZone();
  document.addEventListener("submit", onSubmit);
  document.addEventListener("submit", say);
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKey);
  window.addEventListener("pageshow", onPageShow);
  // Filters that apply at once.
  document.addEventListener("change", function (event) {
    var field = event.target;
    if (field.matches("[data-autosubmit]") && field.form) field.form.requestSubmit();
  });
})();
