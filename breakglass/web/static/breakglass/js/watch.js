/* Watching a session: one stream of its recording, and a key each to freeze it, to let it go on and to end it. A stream
   that was lost goes on where it stopped: each event says up to which byte of the recording it reaches. */
(function () {
  "use strict";

  var page = document.getElementById("watch");
  if (!page) { return; }
  var byId = function (id) { return document.getElementById(id); };
  var token = page.querySelector("[name=csrfmiddlewaretoken]").value;
  var MOST_MARKS = 50;
  var AGAIN = 3000;
  var terminals = null, source = null, watch = null, seen = null, isOver = false, isLost = false, isSilent = false;

  function post(url, fields) {
    var body = new URLSearchParams(Object.assign({ csrfmiddlewaretoken: token }, fields));
    return fetch(url, { method: "POST", body: body, credentials: "same-origin", keepalive: true });
  }

  function state(kind, word) {
    var pill = byId("watch-pill");
    if (!pill) { return; }
    var use = pill.querySelector("use");
    pill.className = "pill " + kind;
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, "#" + (kind || "ended")));
    if (byId("watch-word").textContent !== word) { byId("watch-word").textContent = word; }
  }

  function note(text, kind) {
    var line = byId("watch-note");
    line.className = "note small" + (kind ? " " + kind : "");
    line.textContent = text;
    line.hidden = !text;
  }

  function bytes(count) {
    return count < 1e6 ? Math.ceil(count / 1e3) + " kB" : (count / 1e6).toFixed(1) + " MB";
  }

  /* The stream. */

  function begin() {
    post(page.dataset.begin, {}).then(function (answer) {
      return answer.json().then(function (said) {
        if (!answer.ok) { throw new Error(said.message || "HTTP " + answer.status); }
        watch = said.watch;
        page.dataset.escort = said.escort ? "1" : "";
        listen();
        document.body.dispatchEvent(new CustomEvent("wake"));
      });
    }).catch(function (error) {
      if (isOver) { return; }
      if (error instanceof TypeError) {
        state("wait", "no line; trying again");
        setTimeout(begin, AGAIN);
        return;
      }
      state("stop", "not watching");
      note(error.message, "stop");
    });
  }

  function listen() {
    var from = seen === null ? "" : "&seen=" + seen;
    source = new EventSource(page.dataset.stream + "?watch=" + watch + from);
    source.addEventListener("start", function (event) {
      var facts = JSON.parse(event.data);
      seen = event.lastEventId;
      terminals.start(facts);
      live();
      if (seen !== "0") { note(bytes(facts.skipped) + " of the recording aren't shown here: the replay has them."); }
    });
    source.addEventListener("lines", function (event) {
      seen = event.lastEventId;
      terminals.feed(event.data);
      byId("watch-empty").hidden = terminals.shown !== null;
      live();
    });
    source.addEventListener("beat", function () {
      live();
      if (!page.dataset.escort) { return; }
      post(page.dataset.beat, { watch: watch }).then(function (answer) {
        if (answer.status === 410) { again(); }
      }).catch(function () { /* the stream itself says that the line is lost */ });
    });
    source.addEventListener("over", function () { over("the session is over"); });
    source.addEventListener("closed", function () { source.close(); again(); });
    source.addEventListener("silent", function () {
      isLost = isSilent = true;
      state("wait", "no answer from the disk");
      note("The disk with the recording doesn't answer: what you see may be old. This page tries again by itself.", "wait");
    });
    source.addEventListener("away", function () {
      over("not on this machine");
      note("This session is recorded on another machine than this page's, and can't be watched from here.", "wait");
    });
    source.onerror = function () {
      if (isOver) { return; }
      isLost = true;
      if (!isSilent) { state("wait", "line lost; trying again"); }
      if (source.readyState === EventSource.CLOSED) { again(); }
    };
  }

  /* That watch is over, as after a long gap: another one goes on at the same byte. */
  function again() {
    if (source) { source.close(); }
    source = null;
    if (!isOver) { setTimeout(begin, AGAIN); }
  }

  function live() {
    if (isSilent) { note(""); }
    isLost = isSilent = false;
    state("live", "as it happens");
  }

  function over(word) {
    isOver = true;
    if (source) { source.close(); }
    state("", word);
    leave();
    document.body.dispatchEvent(new CustomEvent("wake"));
  }

  function leave() {
    if (!watch) { return; }
    var body = new URLSearchParams({ csrfmiddlewaretoken: token, watch: watch });
    watch = null;
    navigator.sendBeacon(page.dataset.leave, body);
  }

  /* What the recording marks. */

  function marked(time, label) {
    var row = document.createElement("li"), at = document.createElement("span"), text = document.createElement("span");
    at.className = "soft";
    at.textContent = clock(time);
    text.textContent = label.slice(0, 300);
    row.append(at, text);
    byId("watch-marks").prepend(row);
    byId("watch-marks-box").hidden = false;
    if (byId("watch-marks").children.length > MOST_MARKS) { byId("watch-marks").lastElementChild.remove(); }
  }

  function clock(seconds) {
    var s = Math.max(0, Math.floor(seconds)), h = Math.floor(s / 3600), m = Math.floor((s % 3600) / 60);
    return (h ? h + ":" + String(m).padStart(2, "0") : m) + ":" + String(s % 60).padStart(2, "0");
  }

  /* Keys. */

  function keep(value) {
    try {
      if (value !== undefined) { window.localStorage.setItem("watch-keys", value); }
      return window.localStorage.getItem("watch-keys") !== "off";
    } catch (forbidden) { return true; }
  }

  function types(element) {
    return Boolean(element.closest("input:not([type=checkbox]), textarea, select, dialog, [contenteditable]")) &&
      !element.closest(".xterm");
  }

  var ACTS = {
    f: function () { return send("act-freeze"); },
    u: function () { return send("act-unfreeze"); },
    k: function () { return byId("act-kill") && ask(); },
    c: function () { var field = byId("chat-text"); if (field) { field.focus(); } return field; }
  };

  function send(id) {
    var form = byId(id);
    if (form) { form.requestSubmit(); }
    return form;
  }

  function ask() {
    var dialog = byId("kill");
    if (!dialog) { return false; }
    dialog.showModal();
    var first = dialog.querySelector("textarea");
    if (first) { first.focus(); }
    return true;
  }

  document.addEventListener("keydown", function (event) {
    var on = byId("watch-keys-on");
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !on.checked || types(event.target)) { return; }
    var act = ACTS[event.key.toLowerCase()];
    if (act && act()) { event.preventDefault(); }
  });

  document.addEventListener("click", function (event) {
    if (event.target.closest("#act-kill") && ask()) { event.preventDefault(); }
    if (event.target.closest("#kill-not")) { byId("kill").close(); }
  });

  byId("watch-keys-on").checked = keep();
  byId("watch-keys-on").addEventListener("change", function () { keep(this.checked ? "on" : "off"); });

  if (!page.dataset.open || !window.Terminal) { return; }
  terminals = new window.WatchTerminals(byId("watch-terminals"), byId("watch-tabs"));
  terminals.onmark = marked;
  terminals.onchange = function (count) {
    byId("watch-tabs").hidden = byId("watch-follow-box").hidden = count < 2;
    byId("watch-follow").checked = terminals.follows;
  };
  byId("watch-follow").addEventListener("change", function () { terminals.follows = this.checked; });
  byId("watch-fit").addEventListener("change", function () { terminals.fits = this.checked; terminals.fit(); });
  window.addEventListener("pagehide", leave);
  document.fonts.ready.then(function () { terminals.fit(); });
  begin();
})();
