/* How a seek spares most of what came before it: key frames, which are copies of the emulator's memory at a place, and
   leaps over stretches of plain text that have scrolled by (the server says which: sessions/recording/leaps.py). Both lead
   to the very screen that showing all of it would have led to. A way is the list of chunks that are still to be shown. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var PLAIN = 1, SETTLES = 2, FLOWS = 4, COLOURLESS = 8, BESIDE = 16;
  var EVERY = 3;
  var MOST = 24;
  /* A recording that makes the emulator grow beyond this has no key frames: a memory that was put back grows again. */
  var MOST_MEMORY = 16 * 1024 * 1024;
  var ROOM = 1024 * 1024;

  function Frames(terminal) {
    this.terminal = terminal;
    this.clear();
  }

  Frames.prototype.clear = function () {
    this.base = null;
    this.kept = [];
    this.front = null;
  };

  /* The emulator as it stands; null where it can't be copied. */
  Frames.prototype.take = function () {
    var t = this.terminal, memory = Replay.memory;
    if (!memory || !t.place || memory.buffer.byteLength > MOST_MEMORY) { return null; }
    return { place: t.place, size: t.size, shown: t.shown, exact: t.exact, followed: t.followed, memory: new Uint8Array(memory.buffer).slice() };
  };

  /* Puts it back. Two changes of size make the player draw every row anew. */
  Frames.prototype.back = function (frame) {
    var t = this.terminal;
    t.dispatch("resize", { cols: frame.size.cols, rows: frame.size.rows + 1 });
    t.dispatch("resize", frame.size);
    new Uint8Array(Replay.memory.buffer).set(frame.memory);
    t.dispatch("output", "");
    t.place = frame.place;
    t.size = frame.size;
    t.shown = frame.shown;
    t.exact = frame.exact;
    t.followed = frame.followed;
  };

  /* An emulator that has shown nothing, of that size. */
  Frames.prototype.fresh = function (size) {
    var t = this.terminal, grown = Replay.memory && Replay.memory.buffer.byteLength > MOST_MEMORY;
    if (this.base && !grown) {
      this.back(this.base);
      t.resizeTo(size);
      return;
    }
    this.clear();
    t.dispatch("reset", { size: size, init: "" });
    t.size = size;
    t.place = [0, 0];
    if (!grown) {
      t.dispatch("output", "\0".repeat(ROOM));
      this.base = this.take();
    }
  };

  /* After a chunk was shown: worth keeping where none is near. */
  Frames.prototype.pass = function () {
    var t = this.terminal;
    if (!t.exact || !this.base || t.place[1] !== 0) { return; }
    var last = this.nearest(t.place, t.shown);
    if (last && t.place[0] - last.place[0] < EVERY) { return; }
    var frame = this.take();
    if (!frame) { return; }
    this.kept.push(frame);
    if (this.kept.length > MOST) {
      this.kept.sort(function (a, b) { return a.place[0] - b.place[0]; });
      this.kept = this.kept.filter(function (one, n) { return n % 2 === 1; });
    }
  };

  /* The last one before a place. */
  Frames.prototype.nearest = function (to, shown) {
    var best = null;
    this.kept.forEach(function (frame) {
      if (frame.shown === shown && frame.place[0] <= to[0] && (!best || frame.place[0] > best.place[0])) { best = frame; }
    });
    return best;
  };

  /* The farthest chunk before chunk `to` at whose beginning one may go on instead of in chunk n; n where there is none. */
  Frames.prototype.leap = function (n, to) {
    var t = this.terminal, index = t.chunks.index, best = n, colourless = true;
    for (var j = n; j < to; j++) {
      var flags = index.leaps[j];
      if (!(flags & PLAIN) || (t.shown !== null && (flags & BESIDE || index.channels[j] !== t.shown))) { break; }
      colourless = colourless && (flags & COLOURLESS) !== 0;
      if (flags & SETTLES || (flags & FLOWS && colourless)) { best = j; }
    }
    return best;
  };

  /* The chunks to show from a place to the beginning of chunk `to`. */
  Frames.prototype.way = function (place, to) {
    var n = place[0], way = [];
    while (n < to) {
      n = this.leap(n, to);
      way.push(n++);
    }
    return way;
  };

  /* One step on a round through the whole recording beside what is looked at, to have key frames before they are asked
     for. Resolves to whether there is more to do. */
  Frames.prototype.scout = function () {
    var self = this, t = this.terminal, chunks = t.chunks, last = chunks.count - 1;
    if (!this.base || t.mode === "follow" || !t.place || !chunks.isWhole()) { return Promise.resolve(false); }
    if (!this.front || this.front.shown !== t.shown) {
      this.front = Object.assign({}, this.base, { shown: t.shown, place: [0, 0] });
    }
    var n = this.leap(this.front.place[0], last);
    if (n >= last) { return Promise.resolve(false); }
    if (!chunks.has(n, chunks.needed(n))) {
      return chunks.ensure(n, Math.min(chunks.needed(n + 3), last)).then(function () { return true; });
    }
    var now = this.take();
    if (!now) { return Promise.resolve(false); }
    this.back(this.front);
    t.place = [n, 0];
    t.feed(t.place, [n, chunks.held.get(n).count]);
    t.place = [n + 1, 0];
    self.pass();
    this.front = this.take();
    this.back(now);
    return Promise.resolve(this.front !== null);
  };

  Replay.Frames = Frames;
})();
