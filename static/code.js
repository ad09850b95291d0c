// The card-code field: groups of five while typing, and a word about a slip before anything is sent. Comforts only:
// the server forgives and checks the same (cards/codes.py), and every page works without this file.
(function () {
  "use strict";
  var ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", LENGTH = 25, GROUP = 5;

  function plain(text) {
    return text.normalize("NFKC").replace(/[\s\-_.\u00ad\u2010-\u2015\u2212\u200b-\u200f\u2060\ufeff]+/g, "").toUpperCase();
  }
  function group(text) {
    return (plain(text).match(/[^]{1,5}/gu) || []).join("-");
  }
  function value(symbol) {
    return ALPHABET.indexOf(symbol.replace("O", "0").replace(/[IL]/, "1"));
  }

  // What is wrong with the text: {kind, group} as the server's BadCode says it, or null.
  function slip(text) {
    var code = Array.from(plain(text)), total = 0;
    if (!code.length) return { kind: "empty" };
    for (var i = 0; i < code.length; i++) {
      if (value(code[i]) < 0) return { kind: "symbol", group: Math.floor(i / GROUP) + 1 };
    }
    if (code.length !== LENGTH) return { kind: "length" };
    // Each symbol of GF(32), x^5 + x^2 + 1, times its own power of x: the sum of a right code is zero.
    code.forEach(function (symbol, place) {
      var term = value(symbol);
      for (var n = 0; n < place; n++) { term <<= 1; if (term & 32) term ^= 37; }
      total ^= term;
    });
    return total ? { kind: "check" } : null;
  }

  // Imported codes have an alphabet and a length of their own: what may be one is for the server to say.
  function lengths(input) {
    return (input.getAttribute("data-other-lengths") || "").split(" ").map(Number);
  }
  function other(input) {
    var size = plain(input.value).length, known = lengths(input);
    return { whole: known.indexOf(size) >= 0, begun: Math.max.apply(null, known) >= size };
  }

  function field(target) {
    return target && target.matches && target.matches("input[data-code]:not([type=hidden])") ? target : null;
  }
  function say(input, wrong) {
    var box = document.getElementById(input.id + "_error");
    if (!box) return;
    var text = wrong ? input.getAttribute("data-says-" + wrong.kind).replace("%(group)d", wrong.group) : "";
    var words = box.querySelector("[data-code-error]");
    if (words.textContent !== text) words.textContent = text;
    box.hidden = !text;
    input.classList.toggle("is-invalid", Boolean(text));
    input.setAttribute("aria-invalid", String(Boolean(text)));
  }
  function point(input, wrong) {
    input.focus();
    if (wrong.group) input.setSelectionRange((wrong.group - 1) * (GROUP + 1), wrong.group * (GROUP + 1) - 1);
  }

  // While typing: a symbol that no code has is said at once; a wrong whole once it is as long as a code.
  function onInput(event) {
    var input = field(event.target);
    if (!input || event.isComposing) return;
    var kept = group(input.value.slice(0, input.selectionStart)).length, grouped = group(input.value);
    if (grouped !== input.value) {
      input.value = grouped;
      kept = Math.min(kept, grouped.length);
      input.setSelectionRange(kept, kept);
    }
    var wrong = slip(input.value);
    if (wrong && (wrong.kind === "symbol" ? other(input).begun : other(input).whole)) wrong = null;
    say(input, wrong && (wrong.kind === "symbol" || wrong.kind === "check") ? wrong : null);
  }
  // Deleting goes over a hyphen as if it were not there.
  function onBeforeInput(event) {
    var input = field(event.target), at = input && input.selectionStart;
    if (!input || at !== input.selectionEnd) return;
    if (event.inputType === "deleteContentBackward" && input.value[at - 1] === "-") input.setSelectionRange(at - 1, at - 1);
    if (event.inputType === "deleteContentForward" && input.value[at] === "-") input.setSelectionRange(at + 1, at + 1);
  }
  // A slip is held back once. Who sends the same text again means it: the server decides.
  function onSubmit(event) {
    var input = field(event.target.querySelector("input[data-code]"));
    var wrong = input && slip(input.value);
    if (wrong && wrong.kind !== "empty" && other(input).whole) wrong = null;
    if (!wrong || (wrong.kind !== "empty" && event.target.dataset.held === input.value)) return;
    event.preventDefault();
    event.target.dataset.held = input.value;
    say(input, wrong);
    point(input, wrong);
  }

  // A printed card's QR code leads here with the code behind the "#", which no server sees. It is taken off the
  // address at once, so that the browser's history does not keep it. A reader who must sign in first finds it in the
  // field afterwards: until then, and for a quarter of an hour at most, this tab alone remembers it.
  var KEPT = "portal-code", KEPT_FOR = 15 * 60 * 1000;
  function fillFromFragment() {
    var input = document.querySelector("input[data-code]:not([type=hidden])");
    var code = codeOfFragment(input);
    if (input) code = code || keptCode(input);
    if (input && code) {
      input.value = code;
      input.focus(); // a browser may leave autofocus out where the address has a fragment
    } else if (code) try { sessionStorage.setItem(KEPT, JSON.stringify({ code: code, at: Date.now() })); } catch (error) { /* typed again, then */ }
  }
  function codeOfFragment(input) {
    var text;
    try { text = decodeURIComponent(location.hash.slice(1)); } catch (error) { return ""; }
    if (document.getElementById(text) || !maybeCode(text, input)) return "";
    history.replaceState(null, "", location.pathname + location.search);
    return group(text);
  }
  function keptCode(input) {
    try {
      var kept = JSON.parse(sessionStorage.getItem(KEPT));
      sessionStorage.removeItem(KEPT);
      return kept && Date.now() - kept.at < KEPT_FOR && maybeCode(kept.code, input) ? kept.code : "";
    } catch (error) { return ""; }
  }
  // One of ours, or one as long as imported ones are. The lengths stand at the field: a page that asks to sign in first
  // remembers any text that could be one.
  function maybeCode(text, input) {
    var size = Array.from(plain(text)).length;
    if (/^\w{5}(-\w{5}){4}$/.test(group(text)) || (input && lengths(input).indexOf(size) >= 0)) return true;
    return !input && size >= 8 && size <= 64 && /[?&]next=/.test(location.search);
  }

  // Before the card is spent: what will be opened and charged follows the system chosen.
  function sumUp() {
    var sum = document.getElementById("sum"), choice = document.querySelector("input[data-choice]:checked");
    if (!sum || !choice) return;
    var tile = choice.closest("label"), charge = tile.querySelector("[data-choice-charge]");
    sum.querySelector("[data-sum-choice]").textContent = tile.querySelector("[data-choice-label]").textContent;
    sum.querySelector("[data-sum-nothing]").hidden = Boolean(charge);
    sum.querySelector("[data-sum-charge]").hidden = !charge;
    var proof = document.querySelector("[data-proof]");
    if (proof) proof.hidden = !charge;
    if (charge) sum.querySelector("[data-sum-amount]").textContent = charge.textContent;
    else sum.querySelector("[data-sum-nothing]").textContent = sum.dataset.nothing;
    sum.querySelector("[data-agreed]").value = choice.dataset.amount;
  }

  // The way back from the order leads to the empty field: a browser would have to post the code a second time to show
  // the offer again, and says so with a page of errors.
  function forgetPost(event) {
    if (event.target.matches("form.offer") && !event.defaultPrevented) history.replaceState(null, "", location.href);
  }

  fillFromFragment();
  sumUp();
  document.addEventListener("change", sumUp);
  window.addEventListener("pageshow", sumUp); // the browser's Back button brings the choice back without a change
  window.addEventListener("hashchange", fillFromFragment);
  document.addEventListener("input", onInput);
  document.addEventListener("beforeinput", onBeforeInput);
  document.addEventListener("submit", onSubmit);
  document.addEventListener("submit", forgetPost);
})();
