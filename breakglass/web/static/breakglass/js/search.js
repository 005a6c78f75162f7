/* Searching by key: "/" to the field, arrows through what was found. Enter opens a link by itself. */
(function () {
  "use strict";

  var field = document.getElementById("id_q");

  function hits() {
    return Array.from(document.querySelectorAll("#results [data-hit]"));
  }

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) { return; }
    var at = document.activeElement;
    var typing = at && at !== field && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName);
    if (event.key === "/" && at !== field && !typing) {
      event.preventDefault();
      field.focus();
      field.select();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !typing) {
      var all = hits();
      var now = all.indexOf(at);
      if (now < 0 && at !== field) { return; }
      var next = now + (event.key === "ArrowDown" ? 1 : -1);
      event.preventDefault();
      if (next < 0) { field.focus(); } else if (all[next]) { all[next].focus(); }
    }
  });
}());
