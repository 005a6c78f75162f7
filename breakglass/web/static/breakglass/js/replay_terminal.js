/* The terminal: asciinema-player's emulator and drawing, driven by our own reading of the recording. It knows up to which
   line it has drawn, and goes on from where the way is shortest: from there, from a key frame or from the very beginning
   (replay_frames.js). In a recording too long to be held, and where no short way leads, it begins some megabytes before
   (then `exact` is false, and the page says so). */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var BEFORE = 4;
  var AHEAD = 4;
  var AT_ONCE = 16;
  var BREATH = 250;
  var PIECE = 65536;

  function Terminal(box, chunks) {
    this.box = box;
    this.chunks = chunks;
    this.mode = "all";
    this.exact = true;
    this.sizes = function () { return null; };
    this.turn = 0;
    this.frames = new Replay.Frames(this);
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
    this.turn++;
    this.forget();
    this.frames.clear();
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
    this.chunks.ensure(k, last + AHEAD).catch(function () {});
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
      if (self.mode === "follow") { return self.runAfter(turn, k, to, wholly, told); }
      self.begin(to, wholly);
      return self.advance(turn, to, told);
    });
  };

  /* Stands where the way to a place is shortest. */
  Terminal.prototype.begin = function (to, wholly) {
    var k = to[0], frames = this.frames, limit = this.chunks.isWhole() || wholly ? Infinity : BEFORE + 2;
    var on = this.place && this.shown === this.channel(this.followed) && !before(to, this.place);
    this.shown = this.channel(this.followed);
    var here = on ? frames.way(this.place, k).length : Infinity;
    var frame = frames.nearest(to, this.shown), framed = frame ? frames.way(frame.place, k).length : Infinity;
    var whole = frames.way([0, 0], k).length;
    if (on && this.exact && here <= Math.min(framed, whole, limit)) { return; }
    if (Math.min(framed, whole) > limit) {
      if (!on || here > BEFORE) { this.reset(k - BEFORE, this.shown); }
    } else if (framed < whole) {
      frames.back(frame);
    } else {
      this.reset(0, this.shown);
    }
  };

  /* Where the active channel is followed all lines count: they say which it is. */
  Terminal.prototype.runAfter = function (turn, k, to, wholly, told) {
    var on = this.place && !before(to, this.place) && !(wholly && !this.exact);
    var from = on && (this.chunks.isWhole() || k - this.place[0] <= BEFORE) ? this.place : null;
    return this.run(turn, from, this.chunks.isWhole() || wholly || k <= BEFORE + 2 ? 0 : k - BEFORE, to, wholly, told);
  };

  Terminal.prototype.run = function (turn, from, start, to, wholly, told) {
    var self = this, chunks = this.chunks;
    var first = from ? from[0] : start;
    var held = wholly && !chunks.isWhole() ? Promise.resolve() : chunks.ensure(first, chunks.needed(to[0]));
    return held.then(function () {
      if (turn !== self.turn) { return false; }
      var followed = { channel: -1, at: 0 };
      if (chunks.has(first, to[0])) {
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
    this.frames.fresh(size || { cols: index.cols, rows: index.rows });
    this.place = [start, 0];
    this.shown = channel;
    this.exact = start === 0;
  };

  /* Shows chunk by chunk up to a place, leaps where it may, and lets the page breathe now and then. */
  Terminal.prototype.advance = function (turn, to, told) {
    var self = this, chunks = this.chunks, began = performance.now();
    for (;;) {
      if (turn !== this.turn) { return false; }
      var n = this.mode === "follow" ? this.place[0] : this.frames.leap(this.place[0], to[0]);
      if (n > this.place[0]) { this.place = [n, 0]; }
      if (!chunks.has(n, chunks.needed(n))) {
        chunks.near = n;
        return this.load(to[0]).then(function () { return self.advance(turn, to, told); });
      }
      if (n === to[0]) {
        this.feed(this.place, to);
        return true;
      }
      this.feed(this.place, [n, chunks.held.get(n).count]);
      this.place = [n + 1, 0];
      if (this.mode !== "follow") { this.frames.pass(); }
      if (told) { told(n, to[0]); }
      if (performance.now() - began > BREATH) {
        return new Promise(function (resolve) { setTimeout(resolve, 0); }).then(function () { return self.advance(turn, to, told); });
      }
    }
  };

  /* Fetches what comes next on the way to chunk `to`, the chunks after it too; resolves when its beginning is here. */
  Terminal.prototype.load = function (to) {
    var chunks = this.chunks, n = this.place[0], end = n;
    var way = this.mode === "follow" ? null : this.frames.way(this.place, to);
    while (end < to && end - n < AT_ONCE && (!way || way.indexOf(end + 1) > 0)) { end++; }
    chunks.ensure(n, chunks.needed(end)).catch(function () {});
    return chunks.ensure(n, chunks.needed(n));
  };

  /* Begins to fetch what `draw` will want first. */
  Terminal.prototype.prefetch = function (time) {
    var k = Replay.lines.chunkAt(this.chunks, time);
    this.chunks.ensure(0, k === 0 ? this.chunks.needed(0) : 0).catch(function () {});
    this.chunks.ensure(k, this.chunks.needed(k)).catch(function () {});
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

  /* In pieces, so that the emulator's memory stays small; none ends inside a character. */
  Terminal.prototype.output = function (text) {
    for (var at = 0, end; at < text.length; at = end) {
      end = at + PIECE;
      if (end < text.length && (text.charCodeAt(end) & 0xfc00) === 0xdc00) { end++; }
      this.dispatch("output", text.slice(at, end));
    }
  };

  Terminal.prototype.resize = function (text) {
    var size = sized(text);
    if (size) { this.resizeTo(size); }
  };

  Terminal.prototype.resizeTo = function (size) {
    if (size.cols === this.size.cols && size.rows === this.size.rows) { return; }
    this.dispatch("resize", size);
    this.size = size;
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
