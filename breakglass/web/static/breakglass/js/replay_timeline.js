/* The timeline below the terminal: a lane of marks, the activity as a heat map, and which parts were watched. Both are
   drawn; the slider that lies over the heat map is what a keyboard and a screen reader use. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var NEAR = 9;
  /* Rows of the lane, top down; what weighs more is drawn over what weighs less. */
  var LOOKS = {
    resize: ["--edge", 0], channel: ["--edge", 0], note: ["--ink-soft", 0], end: ["--ink", 0], watch: ["--live", 1],
    chat: ["--act", 1], screen: ["--act", 2], command: ["--act", 2], file: ["--live", 2], freeze: ["--wait", 1],
    warning: ["--wait", 1], finding: ["--stop", 0]
  };

  function Timeline(clock, index) {
    this.clock = clock;
    this.index = index;
    this.entries = [];
    this.seen = [];
    this.lane = document.getElementById("lane");
    this.heat = document.getElementById("heat");
    this.seek = document.getElementById("seek");
    this.tip = document.getElementById("tip");
    this.at = 0;
    this.listen();
  }

  Timeline.prototype.show = function (entries) {
    this.entries = entries;
    this.paint();
  };

  Timeline.prototype.listen = function () {
    var self = this, clock = this.clock;
    this.seek.max = String(Math.max(clock.seconds, 0.01));
    this.seek.addEventListener("input", function () { clock.seek(Number(self.seek.value)); });
    clock.on("time", function (at) {
      if (Math.abs(Number(self.seek.value) - at) > clock.seconds / 4000 || at === 0) { self.seek.value = String(at); }
      self.seek.setAttribute("aria-valuetext", Replay.clock(at) + " of " + Replay.clock(clock.seconds));
    });
    this.lane.addEventListener("click", function (event) {
      var near = self.nearest(event);
      clock.seek(near ? near.t : self.timeAt(event));
    });
    [this.lane, this.seek].forEach(function (part) {
      part.addEventListener("pointermove", function (event) { self.hint(event); });
      part.addEventListener("pointerleave", function () { self.tip.hidden = true; });
    });
    window.addEventListener("resize", function () { self.paint(); });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () { self.paint(); });
  };

  Timeline.prototype.timeAt = function (event) {
    var place = this.lane.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - place.left) / place.width, 0), 1) * this.clock.seconds;
  };

  /* The mark under the pointer, if one is near enough to be meant. */
  Timeline.prototype.nearest = function (event) {
    var width = this.lane.getBoundingClientRect().width, time = this.timeAt(event), best = null;
    var reach = NEAR / width * this.clock.seconds;
    this.entries.forEach(function (entry) {
      var far = Math.abs(entry.t - time);
      if (far <= reach && (!best || far < Math.abs(best.t - time))) { best = entry; }
    });
    return best;
  };

  Timeline.prototype.hint = function (event) {
    var near = event.currentTarget === this.lane ? this.nearest(event) : null;
    var time = near ? near.t : this.timeAt(event);
    this.tip.textContent = Replay.clock(time) + (near ? "  " + Replay.spoken(near).slice(0, 90) : "  " + Replay.wall(this.index.began_ms + time * 1000));
    this.tip.hidden = false;
    var place = this.lane.getBoundingClientRect(), half = this.tip.offsetWidth / 2;
    var x = Math.min(Math.max(event.clientX - place.left, half), place.width - half);
    this.tip.style.setProperty("left", x + "px");
  };

  Timeline.prototype.paint = function () {
    var style = getComputedStyle(document.documentElement);
    var colour = function (name) { return style.getPropertyValue(name).trim(); };
    this.paintLane(prepared(this.lane), colour);
    this.paintHeat(prepared(this.heat), colour);
  };

  Timeline.prototype.paintLane = function (to, colour) {
    var seconds = this.clock.seconds || 1, rows = [0, 1, 2], high = to.height / rows.length;
    this.entries.forEach(function (entry) {
      var look = LOOKS[entry.kind] || LOOKS.note, x = entry.t / seconds * to.width, y = look[1] * high;
      to.fillStyle = colour(look[0]);
      if (entry.end !== undefined && entry.kind !== "command") {
        to.globalAlpha = 0.3;
        to.fillRect(x, y + 1, Math.max((entry.end - entry.t) / seconds * to.width, 2), high - 2);
        to.globalAlpha = 1;
      }
      to.fillRect(Math.min(x, to.width - 3), y + 1, entry.kind === "finding" || entry.kind === "freeze" ? 4 : 2.5, high - 2);
    });
  };

  Timeline.prototype.paintHeat = function (to, colour) {
    var activity = this.index.activity, most = Math.log1p(Math.max.apply(null, activity)) || 1;
    var wide = to.width / activity.length, floor = to.height - 6;
    to.fillStyle = colour("--act");
    for (var i = 0; i < activity.length; i++) {
      if (!activity[i]) { continue; }
      var share = Math.log1p(activity[i]) / most;
      to.globalAlpha = 0.25 + 0.75 * share;
      to.fillRect(i * wide, floor * (1 - share), Math.max(wide, 1), Math.max(floor * share, 1));
    }
    to.globalAlpha = 1;
    to.fillStyle = colour("--line");
    to.fillRect(0, floor + 1, to.width, 5);
    to.fillStyle = colour("--live");
    var seconds = this.clock.seconds || 1;
    this.seen.forEach(function (span) {
      to.fillRect(span[0] / seconds * to.width, floor + 1, Math.max((span[1] - span[0]) / seconds * to.width, 1), 5);
    });
  };

  /* The canvas as big as it is shown, in the device's own dots. */
  function prepared(canvas) {
    var place = canvas.getBoundingClientRect(), dots = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(place.width * dots));
    canvas.height = Math.max(1, Math.round(place.height * dots));
    var to = canvas.getContext("2d");
    to.scale(dots, dots);
    return { __proto__: null, fillRect: to.fillRect.bind(to), width: place.width, height: place.height,
      set fillStyle(value) { to.fillStyle = value; }, set globalAlpha(value) { to.globalAlpha = value; } };
  }

  /* The time of day in the viewer's zone. */
  Replay.wall = function (ms) {
    return new Date(ms).toLocaleString(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
  };

  Replay.Timeline = Timeline;
})();
