/* The list of what happened: filtered by kind, a page at a time, each a button to its second; the current one is marked
   and kept in sight while the recording plays. Whatever a recording says is put in as text. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var PAGE = 60;
  var NAMES = {
    command: "Commands", screen: "Programs", file: "Files", freeze: "Freezes", warning: "Warnings", note: "Notes", chat: "Chat",
    watch: "Watching", finding: "Findings", resize: "Resizes", channel: "Channels", end: "End"
  };
  var ONE = {
    command: "command", screen: "program", file: "file", freeze: "freeze", warning: "warning", note: "note", chat: "chat",
    watch: "watching", finding: "finding", resize: "resize", channel: "channel", end: "end"
  };
  var QUIET = { resize: true, channel: true };

  function List(clock, timeline) {
    this.clock = clock;
    this.timeline = timeline;
    this.all = [];
    this.shown = [];
    this.off = Object.assign({}, QUIET);
    this.first = 0;
    this.current = -1;
    this.box = document.getElementById("moments");
    this.listen();
  }

  List.prototype.listen = function () {
    var self = this;
    this.box.addEventListener("click", function (event) {
      var button = event.target.closest("button[data-n]");
      if (button) { self.clock.seek(self.shown[Number(button.dataset.n)].t); }
    });
    document.getElementById("earlier").addEventListener("click", function () { self.page(self.first - PAGE); });
    document.getElementById("later").addEventListener("click", function () { self.page(self.first + PAGE); });
    this.clock.on("time", function (at) { self.mark(at); });
  };

  /* New entries; the kinds that are ticked stay as they are. */
  List.prototype.show = function (entries) {
    var self = this, counts = {}, kinds = document.getElementById("kinds");
    this.all = entries;
    entries.forEach(function (entry) { counts[entry.kind] = (counts[entry.kind] || 0) + 1; });
    kinds.querySelectorAll("label").forEach(function (label) { label.remove(); });
    Object.keys(NAMES).forEach(function (kind) {
      if (!counts[kind]) { return; }
      var label = document.createElement("label"), box = document.createElement("input"), name = document.createElement("span");
      label.className = "kind kind-" + kind;
      box.type = "checkbox";
      box.checked = !self.off[kind];
      box.value = kind;
      box.addEventListener("change", function () { self.off[kind] = !box.checked; self.filter(); });
      name.textContent = NAMES[kind] + " " + counts[kind].toLocaleString();
      label.append(box, name);
      kinds.append(label);
    });
    document.getElementById("marks-section").hidden = entries.length === 0;
    this.filter();
  };

  List.prototype.filter = function () {
    var off = this.off;
    this.shown = this.all.filter(function (entry) { return !off[entry.kind]; });
    this.timeline.show(this.shown);
    this.current = this.before(this.clock.at);
    document.getElementById("marks-count").textContent = this.shown.length === this.all.length ? "" : this.shown.length.toLocaleString() + " of " + this.all.length.toLocaleString();
    document.getElementById("no-moments").hidden = this.shown.length > 0;
    this.page(this.current < 0 ? 0 : this.current - this.current % PAGE);
  };

  List.prototype.page = function (first) {
    var self = this;
    this.first = Math.max(0, Math.min(first, Math.max(0, this.shown.length - 1)));
    this.first -= this.first % PAGE;
    var rows = this.shown.slice(this.first, this.first + PAGE).map(function (entry, i) { return self.row(entry, self.first + i); });
    this.box.replaceChildren.apply(this.box, rows);
    this.box.start = this.first + 1;
    document.getElementById("earlier-row").hidden = this.first === 0;
    document.getElementById("later-row").hidden = this.first + PAGE >= this.shown.length;
    this.light();
  };

  List.prototype.row = function (entry, n) {
    var row = document.createElement("li"), button = document.createElement("button");
    var time = document.createElement("span"), kind = document.createElement("span"), text = document.createElement(entry.kind === "command" || entry.kind === "file" ? "code" : "span");
    button.type = "button";
    button.dataset.n = String(n);
    time.className = "when";
    time.textContent = Replay.clock(entry.t);
    kind.className = "kind kind-" + entry.kind;
    kind.textContent = ONE[entry.kind] || entry.kind;
    text.className = "what";
    text.dir = "auto";
    text.textContent = (entry.by ? entry.by + (entry.kind === "watch" ? " " : ": ") : "") + Replay.visible(entry.text);
    button.append(time, kind, text);
    var after = extra(entry);
    if (after) {
      var more = document.createElement("span");
      more.className = "soft small";
      more.textContent = after;
      button.append(more);
    }
    row.append(button);
    return row;
  };

  function extra(entry) {
    var said = [];
    if (entry.kind === "command" && entry.exact === false) { said.push("inferred"); }
    if (typeof entry.exit === "number") { said.push("exit " + entry.exit); }
    if (entry.outcome && entry.outcome !== "done") { said.push(entry.outcome); }
    if (entry.severity) { said.push(entry.severity); }
    if (entry.kind === "screen" && entry.end !== undefined) { said.push("until " + Replay.clock(entry.end)); }
    return said.join(", ");
  }

  /* The last entry that isn't later; -1 before the first. */
  List.prototype.before = function (at) {
    var low = 0, high = this.shown.length;
    while (low < high) {
      var middle = (low + high) >> 1;
      if (this.shown[middle].t <= at + 0.0005) { low = middle + 1; } else { high = middle; }
    }
    return low - 1;
  };

  List.prototype.mark = function (at) {
    var now = this.before(at);
    if (now === this.current) { return; }
    this.current = now;
    if (this.box.contains(document.activeElement)) { this.light(); return; }
    if (now >= 0 && (now < this.first || now >= this.first + PAGE)) { this.page(now - now % PAGE); } else { this.light(); }
  };

  List.prototype.light = function () {
    var was = this.box.querySelector("[aria-current]"), ran = this.box.querySelector(".runs"), n = this.current - this.first;
    if (was) { was.removeAttribute("aria-current"); }
    if (ran) { ran.classList.remove("runs"); }
    var runs = this.current;
    while (runs >= this.first && this.shown[runs].kind !== "command" && this.shown[runs].kind !== "screen") { runs--; }
    if (runs >= this.first && this.box.children[runs - this.first]) { this.box.children[runs - this.first].firstChild.classList.add("runs"); }
    var is = this.current >= 0 && this.box.children[n] && this.box.children[n].firstChild;
    if (!is) { return; }
    is.setAttribute("aria-current", "true");
    /* Only the list itself is scrolled, never the page under the viewer's hands. */
    var top = is.offsetTop;
    if (top < this.box.scrollTop || top + is.offsetHeight > this.box.scrollTop + this.box.clientHeight) { this.box.scrollTop = Math.max(0, top - this.box.clientHeight / 3); }
  };

  /* To the next mark, or with -1 the one before (the beginning of the current one, once it is well under way). */
  List.prototype.go = function (direction) {
    var now = this.before(this.clock.at), to;
    if (direction > 0) {
      to = now + 1;
    } else {
      to = now >= 0 && this.clock.at - this.shown[now].t > 1.5 ? now : now - 1;
      while (to > 0 && this.shown[to].t >= this.clock.at - 0.0005) { to--; }
    }
    if (to >= this.shown.length) { return Promise.resolve(null); }
    var entry = to < 0 ? null : this.shown[to];
    return this.clock.seek(entry ? entry.t : 0).then(function () { return entry; });
  };

  /* Control characters can't be seen, and some turn what follows around: they are shown as what they are. */
  Replay.visible = function (text) {
    return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, function (sign) {
      return sign === "\n" ? " ⏎ " : sign === "\t" ? " " : "\\u" + sign.charCodeAt(0).toString(16).padStart(4, "0");
    });
  };

  Replay.spoken = function (entry) {
    return (ONE[entry.kind] || entry.kind) + ": " + (entry.by ? entry.by + (entry.kind === "watch" ? " " : ": ") : "") + Replay.visible(entry.text);
  };

  Replay.List = List;
})();
