/* The replay: asciinema-player draws; play, position, speed, idle and fit are plain controls that a keyboard
   and a screen reader know. The recording is fetched once (the viewing is audited once); what the player can't
   change while it runs (speed, idle, fit) starts it anew at the same moment. */
(function () {
  "use strict";

  var section = document.getElementById("replay");
  if (!section || !window.AsciinemaPlayer) { return; }

  var IDLE = 2;
  var box = document.getElementById("player");
  var bar = document.getElementById("player-bar");
  var play = document.getElementById("play");
  var seek = document.getElementById("seek");
  var time = document.getElementById("time");
  var speed = document.getElementById("speed");
  var idle = document.getElementById("idle");
  var fit = document.getElementById("fit");
  var problem = document.getElementById("replay-problem");
  var marks = document.getElementById("marks");

  var text = "";
  var moments = [];
  var player = null;
  var playing = false;

  fetch(section.dataset.cast, { credentials: "same-origin" }).then(function (answer) {
    if (!answer.ok) {
      return answer.text().then(function (body) { throw new Error(said(body) || "HTTP " + answer.status); });
    }
    return answer.text();
  }).then(function (body) {
    text = body;
    read();
    bar.hidden = false;
    start(0, false);
  }).catch(function (error) {
    box.hidden = true;
    problem.textContent = error.message;
    problem.hidden = false;
  });

  function said(body) {
    var page = new DOMParser().parseFromString(body, "text/html");
    var title = page.querySelector("h1");
    var lead = page.querySelector(".lead");
    return [title && title.textContent, lead && lead.textContent].filter(Boolean).join(" ");
  }

  /* The times of all events, and the labelled moments. */
  function read() {
    var found = [];
    text.split("\n").forEach(function (line) {
      if (line.charAt(0) !== "[") { return; }
      moments.push(parseFloat(line.slice(1)));
      if (/^\[[0-9.eE+]+, ?"m"/.test(line)) {
        try { found.push(JSON.parse(line)); } catch (torn) { /* the torn last line of a crashed recording */ }
      }
    });
    found.slice(0, 200).forEach(function (event) {
      var row = document.createElement("li");
      var button = document.createElement("button");
      button.type = "button";
      button.className = "link";
      button.textContent = clock(event[0]);
      button.addEventListener("click", function () { to(shown(event[0])); box.scrollIntoView({ block: "nearest" }); });
      var label = document.createElement("span");
      label.textContent = event[2];
      row.append(button, label);
      marks.append(row);
    });
    marks.hidden = found.length === 0;
  }

  /* Time in the recording <-> time as shown, with long pauses cut to IDLE seconds. */
  function shown(recorded) {
    if (!idle.checked) { return recorded; }
    var before = 0, cut = 0;
    for (var i = 0; i < moments.length && moments[i] <= recorded; i++) {
      cut += Math.max(0, moments[i] - before - IDLE);
      before = moments[i];
    }
    return Math.max(0, Math.min(recorded, before + IDLE) - cut);
  }

  function recorded(at) {
    if (!player || !wasIdle) { return at; }
    var before = 0, cut = 0;
    for (var i = 0; i < moments.length; i++) {
      var gap = Math.max(0, moments[i] - before - IDLE);
      if (moments[i] - cut - gap > at) { break; }
      cut += gap;
      before = moments[i];
    }
    return at + cut;
  }

  var wasIdle = true;

  function start(at, run) {
    if (player) { player.dispose(); }
    wasIdle = idle.checked;
    player = window.AsciinemaPlayer.create({ data: text }, box, {
      controls: false,
      autoPlay: run,
      preload: true,
      speed: Number(speed.value),
      idleTimeLimit: idle.checked ? IDLE : undefined,
      fit: fit.checked ? "width" : false,
      terminalFontSize: fit.checked ? undefined : "15px",
      startAt: at,
      poster: run ? undefined : "npt:" + shown(Math.max(at, 1))
    });
    ["play", "playing"].forEach(function (name) { player.addEventListener(name, function () { state(true); }); });
    ["pause", "ended"].forEach(function (name) { player.addEventListener(name, function () { state(false); }); });
    state(run);
    paint();
  }

  function state(is) {
    playing = is;
    play.textContent = is ? "Pause" : "Play";
  }

  function to(at) {
    Promise.resolve(player.seek(at)).then(paint);
  }

  function clock(seconds) {
    seconds = Math.max(0, Math.floor(seconds || 0));
    var h = Math.floor(seconds / 3600), m = Math.floor((seconds % 3600) / 60), s = seconds % 60;
    return (h ? h + ":" + String(m).padStart(2, "0") : m) + ":" + String(s).padStart(2, "0");
  }

  function whole() {
    return shown(moments.length ? moments[moments.length - 1] : 0);
  }

  function paint() {
    if (!player) { return; }
    Promise.resolve(player.getCurrentTime()).then(function (at) {
      var all = whole();
      seek.max = String(Math.max(all, 0.1));
      if (document.activeElement !== seek || playing) { seek.value = String(at || 0); }
      seek.setAttribute("aria-valuetext", clock(at) + " of " + clock(all));
      time.textContent = clock(at) + " / " + clock(all);
    });
  }

  function again() {
    Promise.resolve(player.getCurrentTime()).then(function (at) { start(recorded(at || 0), playing); });
  }

  play.addEventListener("click", function () { if (playing) { player.pause(); } else { player.play(); } });
  seek.addEventListener("input", function () { to(Number(seek.value)); });
  [speed, idle, fit].forEach(function (control) { control.addEventListener("change", again); });
  setInterval(paint, 250);
})();
