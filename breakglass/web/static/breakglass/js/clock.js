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

  function spoken(seconds) {
    var minutes = Math.ceil(seconds / 60);
    return minutes === 1 ? "1 minute left" : minutes + " minutes left";
  }

  /* Countdowns: <time data-until="MS"> inside .clock or a li of the strip, which change colour near the end. */
  var announced = {};

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
    announce(holder.dataset.clock, until, seconds);
    if (seconds <= 0 && !holder.dataset.rang) {
      holder.dataset.rang = "1";
      wake();
    }
  }

  function announce(name, until, seconds) {
    var region = document.getElementById("said-clock");
    var step = seconds <= 60 ? 60 : seconds <= 300 ? 300 : seconds <= 600 ? 600 : 0;
    var key = name + until + step;
    if (!region || !name || !step || seconds <= 0 || announced[key]) { return; }
    announced[key] = true;
    region.textContent = name + ": " + spoken(seconds);
  }

  /* Words beside a clock: colour alone says nothing. */
  function nearly(element) {
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
  }

  /* A moment in the reader's own zone; the title keeps UTC. Where the zone is UTC the page has it right already. */
  function localise(element) {
    var at = new Date(Number(element.dataset.at));
    delete element.dataset.at;
    if (at.getTimezoneOffset() === 0) { return; }
    var today = new Date(now());
    var same = at.toDateString() === today.toDateString();
    var how = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" };
    if (!same) { how.day = "2-digit"; how.month = "short"; }
    element.textContent = at.toLocaleString("en-GB", how);
  }

  function wake() {
    document.body.dispatchEvent(new CustomEvent("wake", { bubbles: true }));
  }

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
