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

  // Card codes: groups of five while typing. The server forgives everything else, so nothing is refused here.
  function group(text) {
    var plain = text.normalize("NFKC").replace(/[\s\u200b-\u200d\ufeff\u2010-\u2015-]/g, "").toUpperCase();
    return (plain.match(/.{1,5}/g) || []).join("-");
  }
  function onCode(event) {
    var input = event.target;
    if (!input.matches || !input.matches("input[data-code]") || event.isComposing) return;
    var before = input.value.slice(0, input.selectionStart);
    var kept = group(before).length;
    var grouped = group(input.value);
    if (grouped === input.value) return;
    input.value = grouped;
    var at = Math.min(kept, grouped.length);
    input.setSelectionRange(at, at);
  }

  // A printed card's QR code leads here with the code behind the "#", which no server sees. It is taken off the
  // address at once, so that the browser's history does not keep it. A reader who must sign in first finds it in the
  // field afterwards: until then, and for a quarter of an hour at most, this tab alone remembers it.
  var KEPT = "portal-code", KEPT_FOR = 15 * 60 * 1000;
  function fillFromFragment() {
    var input = document.querySelector("input[data-code]:not([type=hidden])");
    var code = codeOfFragment();
    if (input) code = code || keptCode();
    if (input && code) input.value = code;
    else if (code) try { sessionStorage.setItem(KEPT, JSON.stringify({ code: code, at: Date.now() })); } catch (error) { /* typed again, then */ }
  }
  function codeOfFragment() {
    var code;
    try { code = group(decodeURIComponent(location.hash.slice(1))); } catch (error) { return ""; }
    if (!/^\w{5}(-\w{5}){4}$/.test(code)) return "";
    history.replaceState(null, "", location.pathname + location.search);
    return code;
  }
  function keptCode() {
    try {
      var kept = JSON.parse(sessionStorage.getItem(KEPT));
      sessionStorage.removeItem(KEPT);
      return kept && Date.now() - kept.at < KEPT_FOR ? kept.code : "";
    } catch (error) { return ""; }
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
    document.querySelectorAll("details.menu[open]").forEach(function (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }

  tellTimeZone();
  fillFromFragment();
  window.addEventListener("hashchange", fillFromFragment);
  document.addEventListener("input", onCode);
  document.addEventListener("submit", onSubmit);
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKey);
  window.addEventListener("pageshow", onPageShow);
  // Filters that apply at once.
  document.addEventListener("change", function (event) {
    var field = event.target;
    if (field.matches("[data-autosubmit]") && field.form) field.form.requestSubmit();
  });
})();
