/* The terminal: asciinema-player's emulator and drawing, driven by our own reading of the recording. It knows up to which
   line it has drawn, goes on from there where it can, and begins anew where it must: from the very beginning, or, in a
   recording too long to be held, some megabytes before (then `exact` is false, and the page says so). */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var BEFORE = 4;
  var AHEAD = 4;
  var BREATH = 250;

  function Terminal(box, chunks) {
    this.box = box;
    this.chunks = chunks;
    this.mode = "all";
    this.exact = true;
    this.sizes = function () { return null; };
    this.turn = 0;
    this.forget();
  }

  Terminal.prototype.forget = function () {
    this.place = null;
    this.followed = { channel: -1, at: 0 };
    this.shown = undefined;
  };

  /* Puts the emulator into the page; `fit` is a size of the letters, or "width". Resolves when it can draw. */
  Terminal.prototype.mount = function (fit) {
    var self = this;
    if (this.player) { this.player.dispose(); }
    this.forget();
    return new Promise(function (resolve) {
      function driver(callbacks) {
        self.dispatch = callbacks.dispatch;
        return {
          init: resolve, play: function () {}, pause: function () {}, seek: function () { return false; },
          getCurrentTime: function () { return 0; }, getDuration: function () { return 1; }
        };
      }
      self.player = window.AsciinemaPlayer.create(driver, self.box, {
        controls: false, autoPlay: true, cursorMode: "steady", cols: self.chunks.index.cols, rows: self.chunks.index.rows,
        fit: fit === "width" ? "width" : false, terminalFontSize: fit === "width" ? undefined : fit
      });
    });
  };

  /* Which channel is looked at: a number, or null for all of them as they came. */
  Terminal.prototype.channel = function (followed) {
    return this.mode === "all" ? null : this.mode === "follow" ? Math.max(followed.channel, 0) : this.mode;
  };

  /* Draws what was seen at `time` if all that it takes is here; false if not, then it is fetched. */
  Terminal.prototype.step = function (time) {
    var k = Replay.lines.chunkAt(this.chunks, time), last = this.chunks.needed(k);
    this.chunks.near = k;
    if (!this.chunks.isWhole()) { this.chunks.ensure(k, last + AHEAD).catch(function () {}); }
    if (!this.place || !this.chunks.has(Math.min(this.place[0], k), last)) { return false; }
    var to = Replay.lines.after(this.chunks, time);
    if (before(to, this.place)) { return false; }
    var followed = this.follow(this.place, to, Object.assign({}, this.followed));
    if (this.channel(followed) !== this.shown) { return false; }
    this.feed(this.place, to);
    this.followed = followed;
    return true;
  };

  /* Draws what was seen at `time`, however far it is. Resolves to false where another call came between. */
  Terminal.prototype.draw = function (time, wholly, told) {
    var self = this, turn = ++this.turn, chunks = this.chunks;
    var k = Replay.lines.chunkAt(chunks, time), last = chunks.needed(k);
    chunks.near = k;
    return chunks.ensure(k, last).then(function () {
      if (turn !== self.turn) { return false; }
      var to = Replay.lines.after(chunks, time);
      var on = self.place && !before(to, self.place) && !(wholly && !self.exact);
      var from = on && (chunks.isWhole() || k - self.place[0] <= BEFORE) ? self.place : null;
      var start = chunks.isWhole() || wholly || k <= BEFORE + 2 ? 0 : k - BEFORE;
      return self.run(turn, from, start, to, wholly, told);
    });
  };

  Terminal.prototype.run = function (turn, from, start, to, wholly, told) {
    var self = this, chunks = this.chunks;
    var first = from ? from[0] : start;
    var held = wholly && !chunks.isWhole() ? Promise.resolve() : chunks.ensure(first, chunks.needed(to[0]));
    return held.then(function () {
      if (turn !== self.turn) { return false; }
      var followed = { channel: -1, at: 0 };
      if (self.mode === "follow" && chunks.has(first, to[0])) {
        followed = self.follow(from || [start, 0], to, from ? Object.assign({}, self.followed) : followed);
        if (from && self.channel(followed) !== self.shown) {
          from = null;
          if (!chunks.has(start, to[0])) { return self.run(turn, null, start, to, wholly, told); }
          followed = self.follow([start, 0], to, { channel: -1, at: 0 });
        }
      }
      if (!from) { self.reset(start, self.channel(followed)); }
      self.followed = followed;
      return self.advance(turn, to, told);
    });
  };

  Terminal.prototype.reset = function (start, channel) {
    var index = this.chunks.index;
    var size = sized(start === 0 ? "" : channel === null ? index.screens[start] : this.sizes(channel, index.starts[start]));
    this.place = [start, 0];
    this.shown = channel;
    this.exact = start === 0;
    this.dispatch("reset", { size: size || { cols: index.cols, rows: index.rows }, init: "" });
  };

  /* Feeds chunk by chunk up to a place, and lets the page breathe now and then. */
  Terminal.prototype.advance = function (turn, to, told) {
    var self = this, chunks = this.chunks, began = performance.now();
    for (;;) {
      if (turn !== this.turn) { return false; }
      var n = this.place[0];
      if (!chunks.has(n, chunks.needed(n))) {
        chunks.near = n;
        return chunks.ensure(n, Math.min(n + 15, chunks.needed(to[0]))).then(function () { return self.advance(turn, to, told); });
      }
      if (n === to[0]) {
        this.feed(this.place, to);
        return true;
      }
      this.feed(this.place, [n, chunks.held.get(n).count]);
      this.place = [n + 1, 0];
      if (told) { told(n, to[0]); }
      if (performance.now() - began > BREATH) {
        return new Promise(function (resolve) { setTimeout(resolve, 0); }).then(function () { return self.advance(turn, to, told); });
      }
    }
  };

  /* From one place to another in held chunks. */
  Terminal.prototype.feed = function (from, to) {
    for (var n = from[0]; n <= to[0]; n++) {
      var j = n === to[0] ? to[1] : this.chunks.held.get(n).count;
      Replay.lines.show(this.chunks, n, n === from[0] ? from[1] : 0, j, this.shown, this);
    }
    this.place = [to[0], to[1]];
  };

  Terminal.prototype.follow = function (from, to, state) {
    if (this.mode !== "follow") { return state; }
    for (var n = from[0]; n <= to[0]; n++) {
      Replay.lines.follow(this.chunks, n, n === from[0] ? from[1] : 0, n === to[0] ? to[1] : this.chunks.held.get(n).count, state);
    }
    return state;
  };

  Terminal.prototype.output = function (text) { this.dispatch("output", text); };

  Terminal.prototype.resize = function (text) {
    var size = sized(text);
    if (size) { this.dispatch("resize", size); }
  };

  /* The time of the next thing to be seen, or of the one before. */
  Terminal.prototype.moment = function (step) {
    if (!this.place) { return null; }
    return Replay.lines.moment(this.chunks, this.place, typeof this.mode === "number" ? this.mode : null, step);
  };

  function before(a, b) { return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1]); }

  function sized(text) {
    var found = /^(\d{1,4})x(\d{1,4})$/.exec(text || "");
    return found && { cols: Math.min(Math.max(Number(found[1]), 1), 1000), rows: Math.min(Math.max(Number(found[2]), 1), 1000) };
  }

  Replay.Terminal = Terminal;
})();
