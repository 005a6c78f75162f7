/* The server's time, kept by the browser's steady clock: a wrong wall clock on the phone changes nothing.
   Every answer of the server carries X-Server-Time; each sets the time anew (a phone that slept stops its clock). */
(function () {
  "use strict";

  var base = 0;
  var tick = 0;

  function set(milliseconds) {
    if (Number.isFinite(milliseconds) && milliseconds > 0) {
      base = milliseconds;
      tick = performance.now();
    }
  }

  function now() {
    return base + (performance.now() - tick);
  }

  function left(seconds) {
    seconds = Math.max(0, Math.ceil(seconds));
    var h = Math.floor(seconds / 3600);
    var m = Math.floor((seconds % 3600) / 60);
    var s = seconds % 60;
    var two = function (n) { return String(n).padStart(2, "0"); };
    return h ? h + ":" + two(m) + ":" + two(s) : m + ":" + two(s);
  }

  function ago(seconds) {
    if (seconds < 0) {
      return "in " + span(-seconds);
    }
    return seconds < 10 ? "just now" : span(seconds) + " ago";
  }

  function span(seconds) {
    if (seconds < 60) { return Math.floor(seconds) + " s"; }
    if (seconds < 3600) { return Math.floor(seconds / 60) + " min"; }
    if (seconds < 48 * 3600) { return Math.floor(seconds / 3600) + " h"; }
    return Math.floor(seconds / 86400) + " days";
  }

  function spoken(seconds, face) {
    var minutes = Math.ceil(seconds / 60);
    return seconds <= 0 ? face : seconds <= 60 ? "less than a minute left" : minutes + " minutes left";
  }

  /* Countdowns: <time data-until="MS"> inside .clock or a li of the strip, which change colour near the end. */
  var announced = new Set();
  var MOST = 400;

  function countdown(element) {
    var until = Number(element.dataset.until);
    var seconds = (until - now()) / 1000;
    var text = seconds > 0 ? left(seconds) : (element.dataset.over || "0:00");
    if (element.textContent !== text) {
      element.textContent = text;
    }
    var holder = element.closest("[data-clock]");
    if (!holder) { return; }
    holder.classList.toggle("soon", seconds <= 600 && seconds > 60);
    holder.classList.toggle("last", seconds <= 60);
    var unit = holder.querySelector("[data-unit]");
    if (unit && unit.hidden !== (seconds <= 0)) { unit.hidden = seconds <= 0; }
    announce(holder.dataset.clock, until, seconds, text);
    if (seconds <= 0 && !holder.dataset.rang) {
      holder.dataset.rang = "1";
      wake();
    }
  }

  /* Said aloud: when ten, five and one minutes are left, and when it is over; each once, and only what passes while the
     page is read: what a page shows at first is read with the page. Several at once are one sentence, and the last minute
     alone interrupts. */
  var due = [];
  var began = false;

  function announce(name, until, seconds, face) {
    var step = seconds <= 0 ? "over" : seconds <= 60 ? 60 : seconds <= 300 ? 300 : seconds <= 600 ? 600 : 0;
    var key = name + until + step;
    if (!name || !step || announced.has(key)) { return; }
    announced.add(key);
    /* A page that stays open for weeks forgets the oldest, which are long over. */
    if (announced.size > MOST) { announced.delete(announced.values().next().value); }
    if (began) { due.push({ seconds: seconds, says: name + ": " + spoken(seconds, face) }); }
  }

  function speak() {
    began = true;
    if (!due.length) { return; }
    due.sort(function (one, other) { return one.seconds - other.seconds; });
    var region = document.getElementById(due[0].seconds <= 60 ? "said-clock" : "said");
    var more = due.length > 2 ? ", and " + (due.length - 2) + " more" : "";
    if (region) { region.textContent = due.slice(0, 2).map(function (one) { return one.says; }).join("; ") + more; }
    due = [];
  }

  /* Words beside a clock: colour alone says nothing. */
  function nearly(element) {
    if (!element.dataset.nearly) { return; }
    var seconds = (Number(element.dataset.nearly) - now()) / 1000;
    var text = seconds <= 0 || seconds > 600 ? "" : seconds <= 60 ? element.dataset.last : element.dataset.soon;
    if (element.textContent !== text) { element.textContent = text; }
    element.classList.toggle("last", seconds <= 60);
  }

  function paint() {
    document.querySelectorAll("time[data-at]").forEach(localise);
    document.querySelectorAll("time[data-until]").forEach(countdown);
    document.querySelectorAll("[data-nearly]").forEach(nearly);
    document.querySelectorAll("time[data-ago]").forEach(function (element) {
      var text = ago((now() - Number(element.dataset.ago)) / 1000);
      if (element.textContent !== text) {
        element.textContent = text;
      }
    });
    speak();
  }

  /* A moment in the reader's own zone; the title keeps UTC. Where the zone is UTC the page has it right already. */
  function localise(element) {
    var at = new Date(Number(element.dataset.at));
    delete element.dataset.at;
    if (at.getTimezoneOffset() === 0) { return; }
    var today = new Date(now());
    var same = at.toDateString() === today.toDateString();
    var how = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" };
    var exact = "exact" in element.dataset;
    if (exact) { how.second = "2-digit"; }
    if (!same || exact) { how.day = "2-digit"; how.month = "short"; }
    element.textContent = at.toLocaleString("en-GB", how);
  }

  function wake() {
    document.body.dispatchEvent(new CustomEvent("wake", { bubbles: true }));
  }

  // To each part itself: what a part would hear from the body would keep that part, long replaced, in memory.
  document.body.addEventListener("wake", function (event) {
    if (event.target !== document.body) { return; }
    document.querySelectorAll("[hx-trigger*='wake']").forEach(function (part) { part.dispatchEvent(new CustomEvent("wake")); });
  });

  set(Number(document.documentElement.dataset.serverNow));
  window.breakglassNow = now;

  document.addEventListener("htmx:afterRequest", function (event) {
    var xhr = event.detail.xhr;
    if (xhr && xhr.getResponseHeader) {
      set(Number(xhr.getResponseHeader("X-Server-Time")));
    }
  });
  document.addEventListener("htmx:load", paint);
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) {
      wake();
      paint();
    }
  });
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) {
      window.location.reload();
    }
  });
  setInterval(paint, 500);
  paint();
})();
