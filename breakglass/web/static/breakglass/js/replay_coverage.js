/* What was really watched: while the page is visible and the recording plays at most four times as fast as it was. A pause
   that is skipped counts with what stands around it, for nothing happened in it; a seek counts for nothing. Told to the
   server every ten seconds and when the page goes away, with the viewing's ticket and the receipts of the chunks. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var FASTEST = 4;
  var EVERY = 10000;

  Replay.coverage = function (clock, chunks, address, token, seen) {
    var from = null, to = 0, ranges = [], stopped = false;

    function close() {
      if (from !== null && to - from > 0.05) { ranges.push([Math.round(from * 100) / 100, Math.round(to * 100) / 100]); }
      from = null;
    }

    clock.on("time", function (at) {
      var counts = clock.playing && clock.speed <= FASTEST && !document.hidden;
      if (!counts) { close(); return; }
      if (from === null) { from = at; }
      to = at;
    });
    clock.on("jump", close);
    clock.on("state", function (playing) { if (!playing) { close(); send(); } });

    function take() {
      var playing = from !== null, at = to;
      close();
      if (playing) { from = at; to = at; }
      return ranges.splice(0, 400);
    }

    function proved(told) {
      var served = new Set();
      told.forEach(function (range) {
        var last = Replay.lines.chunkAt(chunks, range[1]);
        for (var n = Replay.lines.chunkAt(chunks, range[0]); n <= last; n++) { served.add(chunks.receipts.get(n)); }
      });
      return JSON.stringify({ ranges: told, viewing: chunks.index.ticket, served: Array.from(served).filter(Boolean) });
    }

    function send() {
      var told = stopped ? [] : take();
      if (!told.length) { return; }
      fetch(address, {
        method: "POST", credentials: "same-origin", body: proved(told),
        headers: { "Content-Type": "application/json", "X-CSRFToken": token }
      }).then(function (answer) {
        if (answer.status >= 400 && answer.status < 500) { stopped = answer.status < 409; return null; }
        if (!answer.ok) { throw new Error("HTTP " + answer.status); }
        return answer.json();
      }).then(function (sum) {
        if (sum) { seen(sum); }
      }).catch(function () { ranges = told.concat(ranges); });
    }

    function leave() {
      var told = stopped ? [] : take();
      if (!told.length || !navigator.sendBeacon) { return; }
      var form = new FormData();
      form.append("csrfmiddlewaretoken", token);
      form.append("told", proved(told));
      if (!navigator.sendBeacon(address, form)) { ranges = told.concat(ranges); }
    }

    setInterval(send, EVERY);
    document.addEventListener("visibilitychange", function () { if (document.hidden) { close(); leave(); } });
    window.addEventListener("pagehide", leave);
  };
})();
