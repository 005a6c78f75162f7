/* The replay page: begins the viewing (checked and audited once), fetches the recording, and ties clock, terminal,
   timeline, list, keys and the page's controls together. `?t=SECONDS` (or `#t=`) opens it paused at that second. */
(function () {
  "use strict";

  var Replay = window.Replay;
  var section = document.getElementById("replay");
  if (!section || !window.AsciinemaPlayer || !Replay) { return; }

  var CHAT_STAYS = 8;
  var SPEEDS = [0.5, 1, 2, 4, 8, 16];
  var get = function (id) { return document.getElementById(id); };
  var clock, terminal, timeline, list, index, entries = [];

  Replay.begun.then(function (answer) {
    if (!answer.ok) { return Replay.words(answer).then(function (said) { throw new Error(said); }); }
    return answer.json();
  }).then(open).catch(function (error) { trouble(error.message); });

  function open(begun) {
    index = begun;
    var chunks = new Replay.Chunks(index, section.dataset.chunks, Number(section.dataset.atOnce));
    get("wait").textContent = "Fetching the recording …";
    terminal = new Replay.Terminal(get("player"), chunks);
    clock = new Replay.Clock(terminal, index.seconds);
    timeline = new Replay.Timeline(clock, index);
    list = new Replay.List(clock, timeline);
    controls();
    terminal.prefetch(asked());
    return terminal.mount("width").then(function () {
      return clock.seek(asked());
    }).then(function () {
      get("wait").hidden = true;
      get("controls").hidden = false;
      timeline.paint();
      section.dataset.state = "ready";
      return happened();
    }).then(scout);
  }

  /* While nobody waits: key frames, so that a seek far away is no longer than one nearby. */
  function scout() {
    var idle = window.requestIdleCallback || function (then) { setTimeout(then, 50); };
    idle(function () {
      if (clock.playing || clock.busy) { setTimeout(scout, 500); return; }
      terminal.frames.scout().then(function (more) {
        if (more) { scout(); } else { section.dataset.scouted = "yes"; }
      }, function () {});
    });
  }

  function happened() {
    return fetch(section.dataset.timeline, { credentials: "same-origin", headers: { "X-Viewing": index.ticket } }).then(function (answer) {
      if (!answer.ok) { return Replay.words(answer).then(function (said) { throw new Error(said); }); }
      return answer.json();
    }).then(function (told) {
      entries = told.entries;
      terminal.sizes = sizeOf;
      channels(told.channels);
      timeline.seen = told.seen;
      covered(told.seen);
      list.show(entries);
      subtitles(clock.at);
      section.dataset.marks = String(entries.length);
    });
  }

  /* The second that the address asks for. */
  function asked() {
    var found = /[?&#]t=(\d+(?:\.\d+)?)/.exec(window.location.search + window.location.hash);
    return found ? Number(found[1]) : 0;
  }

  function trouble(words) {
    get("wait").hidden = true;
    get("replay-problem").textContent = words;
    get("replay-problem").hidden = false;
    section.dataset.state = "failed";
  }

  /* Controls. */

  function controls() {
    var act = { tell: tell, tellMark: tellMark, faster: faster, idle: function () { get("idle").click(); }, runbook: runbook, full: full };
    clock.on("time", paint);
    clock.on("time", subtitles);
    clock.on("state", function (playing) {
      get("play").textContent = playing ? "Pause" : "Play";
      section.dataset.playing = String(playing);
    });
    clock.on("trouble", trouble);
    get("whole").textContent = Replay.clock(index.seconds);
    get("play").addEventListener("click", function () { clock.toggle(); });
    get("player").addEventListener("click", function () { if (!String(window.getSelection())) { clock.toggle(); } });
    get("previous").addEventListener("click", function () { list.go(-1).then(tellMark); });
    get("next").addEventListener("click", function () { list.go(1).then(tellMark); });
    get("speed").addEventListener("change", function () { clock.speed = Number(get("speed").value); });
    get("idle").addEventListener("change", function () { clock.skips = get("idle").checked; });
    get("zoom").addEventListener("change", function () {
      terminal.mount(get("zoom").value).then(function () { return clock.seek(clock.at); });
    });
    get("channel").addEventListener("change", function () {
      var chosen = get("channel").value;
      terminal.mode = chosen === "all" || chosen === "follow" ? chosen : Number(chosen);
      terminal.forget();
      clock.seek(clock.at);
    });
    get("exactly").addEventListener("click", exactly);
    get("share").addEventListener("click", share);
    get("runbook-show").addEventListener("click", runbook);
    get("runbook-hide").addEventListener("click", runbook);
    get("full").addEventListener("click", full);
    window.addEventListener("hashchange", function () { clock.pause(); clock.seek(asked()); });
    if (Replay.note && section.dataset.note) {
      act.note = Replay.note(clock, section.dataset, function (entry) {
        entries.push(entry);
        entries.sort(function (a, b) { return a.t - b.t; });
        list.show(entries);
        say("Written down at " + Replay.clock(entry.t));
      });
    }
    if (section.dataset.coverage) {
      Replay.coverage(clock, terminal.chunks, section.dataset.coverage, section.dataset.csrf, function (sum) {
        timeline.seen = sum.ranges;
        timeline.paint();
        covered(sum.ranges);
      });
    }
    Replay.keys(clock, list, act);
  }

  function faster(direction) {
    var at = SPEEDS.indexOf(clock.speed) + direction;
    if (at < 0 || at >= SPEEDS.length) { return; }
    clock.speed = SPEEDS[at];
    get("speed").value = String(SPEEDS[at]);
    say(SPEEDS[at] + " times as fast");
  }

  var painted = "";

  function paint(at) {
    var now = Replay.clock(at);
    section.dataset.at = at.toFixed(3);
    get("partly").hidden = terminal.exact;
    if (now === painted) { return; }
    painted = now;
    get("at").textContent = now;
    var wall = get("wall"), moment = new Date(index.began_ms + at * 1000);
    wall.textContent = Replay.wall(moment.getTime());
    wall.dateTime = moment.toISOString();
    wall.title = moment.toISOString().replace("T", " ").slice(0, 19) + " UTC";
  }

  function say(text) { get("told").textContent = text; }

  function tell() { say(Replay.clock(clock.at) + " of " + Replay.clock(clock.seconds)); }

  function tellMark(entry) { say(entry ? Replay.clock(entry.t) + ", " + Replay.spoken(entry) : Replay.clock(clock.at)); }

  function seeking(words) {
    get("wait").textContent = words;
    get("wait").hidden = !words;
  }

  function exactly() {
    clock.pause();
    clock.seek(clock.at, true, function (n, of) { seeking("Reading from the beginning: " + (n + 1) + " of " + (of + 1) + " MB"); }).then(function () {
      seeking("");
      paint(clock.at);
      tell();
    });
  }

  /* A link to this second. It is put where the page's copy button takes it from. */
  function share() {
    var link = get("link"), button = get("share");
    link.textContent = window.location.origin + window.location.pathname + "?t=" + Math.floor(clock.at);
    button.dataset.copy = "link";
    window.history.replaceState(null, "", "?t=" + Math.floor(clock.at));
  }

  function runbook() {
    var panel = get("runbook"), button = get("runbook-show");
    panel.hidden = !panel.hidden;
    get("side").classList.toggle("beside", !panel.hidden);
    button.setAttribute("aria-expanded", String(!panel.hidden));
    if (panel.hidden) { button.focus(); } else { panel.focus({ preventScroll: true }); }
    timeline.paint();
    list.light();
  }

  function full() {
    if (document.fullscreenElement) { document.exitFullscreen(); return; }
    if (get("stage").requestFullscreen) { get("stage").requestFullscreen().catch(function () { say("This browser shows no full screen here."); }); }
  }

  document.addEventListener("fullscreenchange", function () {
    var is = document.fullscreenElement !== null;
    get("full").textContent = is ? "Leave full screen" : "Full screen";
    if (timeline) { timeline.paint(); }
  });

  /* Channels: with more than one that shows something the active one is followed. */
  function channels(rows) {
    var shows = rows.filter(function (row) { return row.kind === "shell" || row.kind === "exec"; });
    var choice = get("channel");
    if (shows.length < 2) { return; }
    [["all", "All, as they came"], ["follow", "Follow the active one"]].concat(shows.map(function (row) {
      return [String(row.number), row.number + ": " + row.kind + (row.text ? " " + Replay.visible(row.text).slice(0, 60) : "")];
    })).forEach(function (one) {
      var option = document.createElement("option");
      option.value = one[0];
      option.textContent = one[1];
      choice.append(option);
    });
    get("channel-row").hidden = false;
  }

  function sizeOf(channel, time) {
    var size = null;
    entries.forEach(function (entry) {
      if (entry.kind === "resize" && entry.channel === channel && entry.t <= time) { size = entry.text; }
    });
    return size;
  }

  var spoken = "";

  /* Chat at its moment, as subtitles. */
  function subtitles(at) {
    var now = entries.filter(function (entry) { return entry.kind === "chat" && entry.t <= at && at < entry.t + CHAT_STAYS; }).slice(-3);
    var key = now.map(function (entry) { return entry.t + entry.text; }).join("\n");
    if (key === spoken) { return; }
    spoken = key;
    get("subtitles").replaceChildren.apply(get("subtitles"), now.map(function (entry) {
      var row = document.createElement("li"), who = document.createElement("b"), text = document.createElement("span");
      who.textContent = entry.by + ":";
      text.dir = "auto";
      text.textContent = Replay.visible(entry.text);
      row.append(who, " ", text);
      return row;
    }));
  }

  function covered(ranges) {
    if (!section.dataset.coverage) { return; }
    var sum = ranges.reduce(function (all, span) { return all + span[1] - span[0]; }, 0);
    var share = index.seconds ? Math.min(100, Math.round(sum / index.seconds * 100)) : 0;
    get("seen").textContent = "You have watched " + share + " % of it. The green line below the activity shows which parts; they count up to four times as fast as it was.";
    get("seen").hidden = false;
  }
})();
