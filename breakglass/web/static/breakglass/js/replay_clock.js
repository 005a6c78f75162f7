/* The clock of the replay: where in the recording we are, how fast it goes, and that long pauses are cut. Positions are
   always seconds of the recording, whatever is skipped, so that a link to a second means the same to everybody. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var IDLE = 2;
  var LONGEST_STEP = 0.25;

  function Clock(terminal, seconds) {
    this.terminal = terminal;
    this.seconds = seconds;
    this.at = 0;
    this.speed = 1;
    this.skips = true;
    this.playing = false;
    this.busy = 0;
    this.lastSeen = 0;
    this.heard = { time: [], state: [], trouble: [], jump: [] };
  }

  Clock.prototype.on = function (name, hear) { this.heard[name].push(hear); };

  Clock.prototype.say = function (name, a, b) { this.heard[name].forEach(function (hear) { hear(a, b); }); };

  Clock.prototype.play = function () {
    var self = this;
    if (this.playing) { return Promise.resolve(); }
    var ready = this.at >= this.seconds && this.seconds > 0 ? this.seek(0) : Promise.resolve(true);
    return ready.then(function () {
      if (self.playing) { return; }
      self.playing = true;
      self.stamp = 0;
      self.say("state", true);
      self.wake();
    });
  };

  Clock.prototype.pause = function () {
    if (!this.playing) { return; }
    this.playing = false;
    this.say("state", false);
  };

  Clock.prototype.toggle = function () { if (this.playing) { this.pause(); } else { this.play(); } };

  /* To a second. Resolves when it is drawn, to false where another seek came between. */
  Clock.prototype.seek = function (time, wholly, told) {
    var self = this;
    time = Math.min(Math.max(Number(time) || 0, 0), this.seconds);
    this.busy++;
    this.at = time;
    this.lastSeen = time;
    this.say("jump", time);
    this.say("time", time);
    return this.terminal.draw(time, wholly, told).then(function (drawn) {
      self.busy--;
      self.stamp = 0;
      if (drawn) { self.say("time", self.at); }
      return drawn;
    }, function (error) {
      self.busy--;
      self.pause();
      self.say("trouble", error.message);
      return false;
    });
  };

  /* One step: to the next thing that is seen, or to the one before. */
  Clock.prototype.step = function (direction) {
    this.pause();
    if (direction > 0) {
      var next = this.terminal.moment(1);
      return this.seek(next === null ? this.seconds : next);
    }
    var last = this.terminal.moment(-1);
    return this.seek(last === null ? 0 : last - 0.001);
  };

  Clock.prototype.wake = function () {
    var self = this;
    requestAnimationFrame(function (stamp) { self.tick(stamp); });
  };

  Clock.prototype.tick = function (stamp) {
    if (!this.playing) { return; }
    var gone = this.stamp ? Math.min((stamp - this.stamp) / 1000, LONGEST_STEP) : 0;
    this.stamp = stamp;
    if (!this.busy) { this.advance(gone * this.speed); }
    this.wake();
  };

  Clock.prototype.advance = function (gone) {
    var target = this.at + gone, next = this.terminal.moment(1);
    if (next !== null && next <= target) { this.lastSeen = target; }
    if (this.skips && target - this.lastSeen >= IDLE && (next === null || next > target)) {
      target = next === null ? this.seconds : next;
      this.lastSeen = target;
    }
    target = Math.min(target, this.seconds);
    if (!this.terminal.step(target)) {
      this.fetch(target);
      return;
    }
    this.at = target;
    this.say("time", target);
    if (target >= this.seconds) { this.pause(); }
  };

  /* What comes next isn't here yet, or another channel has become active. */
  Clock.prototype.fetch = function (time) {
    var self = this;
    this.busy++;
    this.terminal.draw(time).then(function (drawn) {
      self.busy--;
      self.stamp = 0;
      if (drawn) {
        self.at = time;
        self.say("time", time);
      }
    }, function (error) {
      self.busy--;
      self.pause();
      self.say("trouble", error.message);
    });
  };

  /* 1:02:03, or 2:03. */
  Replay.clock = function (seconds) {
    seconds = Math.max(0, Math.floor(seconds || 0));
    var h = Math.floor(seconds / 3600), m = Math.floor((seconds % 3600) / 60), s = seconds % 60;
    return (h ? h + ":" + String(m).padStart(2, "0") : m) + ":" + String(s).padStart(2, "0");
  };

  Replay.Clock = Clock;
})();
