/* The wall: what is on the screens, every two seconds, as plain text. It runs for weeks: nothing piles up, a lost line is
   said and found again, and when the server has another version of this page the page loads itself anew. */
(function () {
  "use strict";

  var EVERY = 2000;
  var LATE = 15000;
  var wall = document.getElementById("main");
  var lost = document.getElementById("lost");
  var clock = document.getElementById("wall-clock");
  var zone = document.getElementById("wall-zone");

  function show(facts) {
    document.querySelectorAll("[data-screen]").forEach(function (element) {
      var screen = facts[element.dataset.screen];
      var text = screen ? screen.rows.join("\n") : "";
      if (element.textContent !== text) { element.textContent = text; }
      element.style.setProperty("--columns", String(screen ? screen.columns : 80));
    });
  }

  function ask() {
    var stop = new AbortController();
    var timer = setTimeout(function () { stop.abort(); }, LATE);
    fetch(wall.dataset.screens, {
      method: "POST", credentials: "same-origin", signal: stop.signal, headers: { "X-CSRFToken": wall.dataset.token }
    }).then(function (answer) {
      if (answer.status === 401 || answer.status === 403) { window.location.reload(); }
      if (!answer.ok) { throw new Error(String(answer.status)); }
      return answer.json();
    }).then(function (facts) {
      lost.hidden = true;
      document.getElementById("silent").hidden = !facts.silent;
      if (facts.version !== wall.dataset.version) { window.location.reload(); }
      show(facts.screens);
    }).catch(function () {
      lost.hidden = false;
    }).then(function () {
      clearTimeout(timer);
      setTimeout(ask, document.hidden ? EVERY * 5 : EVERY);
    });
  }

  function tick() {
    /* The room's own time, UTC on hover. */
    var now = new Date(window.breakglassNow());
    var face = now.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    if (clock.textContent === face) { return; }
    clock.textContent = face;
    clock.dateTime = now.toISOString();
    clock.title = now.toISOString().slice(11, 16) + " UTC";
    zone.textContent = now.toLocaleTimeString("en-GB", { timeZoneName: "short" }).split(" ").slice(1).join(" ");
  }

  setInterval(tick, 1000);
  tick();
  ask();
})();
