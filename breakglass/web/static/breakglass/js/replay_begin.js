/* The viewing begins (checked and audited once) while the other scripts of the page are still read. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var section = document.getElementById("replay");
  if (!section) { return; }
  Replay.begun = fetch(section.dataset.viewing, { method: "POST", credentials: "same-origin", headers: { "X-CSRFToken": section.dataset.csrf } });
  Replay.begun.catch(function () {});
})();
