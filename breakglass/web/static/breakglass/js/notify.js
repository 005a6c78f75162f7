/* For approvers, on every page: how many requests wait, on the tab and on the app's icon; and, where they asked for
   it by a click, a notification of the browser's own when a new one comes while they look elsewhere. No push service:
   it works while a page of ours is open. It says who asks for what, and leads to the page; it decides nothing. */
(function () {
  "use strict";

  var script = document.currentScript || document.querySelector("script[data-waiting-url]");
  var url = script.dataset.waitingUrl;
  var icon = document.querySelector("link[rel='icon']");
  var plain = icon && icon.getAttribute("href");
  var key = "breakglass-told";
  var timer = null;

  function title(count) {
    var bare = document.title.replace(/^\(\d+\) /, "");
    document.title = count ? "(" + count + ") " + bare : bare;
  }

  function dot(count) {
    if (icon) { icon.setAttribute("href", count ? icon.dataset.waiting || plain : plain); }
    if (navigator.setAppBadge) {
      (count ? navigator.setAppBadge(count) : navigator.clearAppBadge()).catch(function () {});
    }
  }

  function counts(count) {
    document.querySelectorAll("[data-inbox-count]").forEach(function (element) {
      element.hidden = !count;
      element.firstChild.textContent = count || "";
    });
  }

  /* Each request once, whichever of several tabs is first. */
  function tell(facts) {
    var told = "";
    try { told = localStorage.getItem(key) || ""; } catch (error) { told = ""; }
    if (!facts.newest || facts.newest === told) { return; }
    try { localStorage.setItem(key, facts.newest); } catch (error) { return; }
    if (!document.hidden || !window.Notification || Notification.permission !== "granted") { return; }
    var note = new Notification("Somebody waits for you", { body: facts.says, tag: facts.newest });
    note.onclick = function () {
      window.focus();
      window.location.assign("/requests/" + facts.newest + "/decide/");
    };
  }

  function look() {
    clearTimeout(timer);
    fetch(url, { headers: { "HX-Request": "true" }, credentials: "same-origin" }).then(function (answer) {
      return answer.ok ? answer.json() : null;
    }).then(function (facts) {
      if (!facts) { return; }
      title(facts.waiting);
      dot(facts.waiting);
      counts(facts.waiting);
      tell(facts);
    }).catch(function () {}).then(function () {
      timer = setTimeout(look, 15000);
    });
  }

  function offer() {
    var button = document.getElementById("notify-ask");
    if (!button || !window.Notification) { return; }
    var says = document.getElementById("notify-says");
    function show() {
      button.hidden = Notification.permission !== "default";
      says.hidden = false;
      says.textContent = Notification.permission === "granted"
        ? "This browser tells you of new requests while a page of ours is open."
        : Notification.permission === "denied" ? "This browser may not tell you of new requests: allow it in the settings of the page." : "";
    }
    button.addEventListener("click", function () { Notification.requestPermission().then(show); });
    show();
  }

  /* The doorbell rang, or the page is looked at again: the number may be another. */
  function soon() {
    clearTimeout(timer);
    timer = setTimeout(look, 250);
  }

  document.addEventListener("htmx:sseMessage", soon);
  document.addEventListener("visibilitychange", soon);
  offer();
  look();
})();
