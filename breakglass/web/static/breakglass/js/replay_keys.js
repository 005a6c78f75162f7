/* Keys of the player, for the whole page but where somebody types. They can be turned off (single keys are in the way of
   speech input); the list of them is a dialog. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var KEPT = "breakglass.replay.keys";

  Replay.keys = function (clock, list, act) {
    var help = document.getElementById("help"), on = document.getElementById("keys");
    try { on.checked = localStorage.getItem(KEPT) !== "off"; } catch (none) { /* private window */ }
    on.addEventListener("change", function () {
      try { localStorage.setItem(KEPT, on.checked ? "on" : "off"); } catch (none) { /* private window */ }
    });
    document.getElementById("help-show").addEventListener("click", function () { help.showModal(); });

    var does = {
      " ": function () { clock.toggle(); }, k: function () { clock.toggle(); },
      ArrowLeft: function () { clock.seek(clock.at - 5).then(act.tell); }, ArrowRight: function () { clock.seek(clock.at + 5).then(act.tell); },
      j: function () { clock.seek(clock.at - 10).then(act.tell); }, l: function () { clock.seek(clock.at + 10).then(act.tell); },
      Home: function () { clock.seek(0).then(act.tell); }, End: function () { clock.seek(clock.seconds).then(act.tell); },
      ",": function () { clock.step(-1).then(act.tell); }, ".": function () { clock.step(1).then(act.tell); },
      n: function () { list.go(1).then(act.tellMark); }, p: function () { list.go(-1).then(act.tellMark); },
      "<": function () { act.faster(-1); }, ">": function () { act.faster(1); },
      i: act.idle, m: act.note, r: act.runbook, f: act.full, "?": function () { help.showModal(); }
    };

    function typing(target) {
      return target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]") !== null;
    }

    /* Before the emulator's own keys, which know nothing of ours. */
    document.addEventListener("keydown", function (event) {
      var target = event.target;
      if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]") || typing(target)) { return; }
      var key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      var named = key.length > 1;
      /* Arrows, Home and End scroll the page unless the player has the focus. */
      var ours = target.closest(".replay-stage") !== null || target === document.body;
      if (named && !(ours && does[key])) { return; }
      if (named && (key === "Home" || key === "End") && target === document.body) { return; }
      if (!named && !on.checked && key !== " ") { return; }
      if (key === " " && target.closest("button, a, input, summary, label")) { if (target.type !== "range") { return; } }
      if (key >= "0" && key <= "9" && !named) {
        clock.seek(clock.seconds * Number(key) / 10).then(act.tell);
      } else if (does[key]) {
        does[key]();
      } else { return; }
      event.preventDefault();
      event.stopPropagation();
    }, true);
  };
})();
