/* The terminals of a watched session, one a channel, fed with lines of its recording. They only show: nothing is typed
   into them, no link opens, nothing reaches the clipboard or the title, and what a program asks of them isn't answered. */
(function () {
  "use strict";

  var NONCE = document.currentScript.nonce;
  var MOST = 8;
  var ROWS_KEPT = 5000;
  var MOST_CELLS = 1000;
  var LULL = 1000;
  /* Resizing costs, with rows kept the more: this many milliseconds at once, and from then on this share of the time. */
  var RESIZING = 300, SHARE = 0.1;
  var SMALLEST = 5, USUAL = 14, LARGEST = 16;

  /* Under our content security policy a style that a script creates counts when it bears the page's nonce, and a style
     attribute counts when it is set by CSSOM. */
  function dress() {
    document.createElement = function (name, options) {
      var made = Document.prototype.createElement.call(document, name, options);
      if (String(name).toLowerCase() === "style") { made.nonce = NONCE; }
      return made;
    };
    var set = Element.prototype.setAttribute;
    Element.prototype.setAttribute = function (name, value) {
      if (name === "style" && this.style) { this.style.cssText = value; } else { set.call(this, name, value); }
    };
  }

  function swallow() { return true; }

  function Terminals(box, tabs) {
    this.box = box;
    this.tabs = tabs;
    this.channels = new Map();
    this.current = "0";
    this.shown = null;
    this.follows = true;
    this.fits = true;
    this.budget = RESIZING;
    this.resized = performance.now();
    this.later = null;
    this.onmark = function () {};
    this.onchange = function () {};
    dress();
    window.addEventListener("resize", this.fit.bind(this));
  }

  /* Everything begins anew: what was shown is forgotten, and each channel's terminal is put into its state. */
  Terminals.prototype.start = function (facts) {
    Array.from(this.channels.keys()).forEach(this.drop, this);
    this.shown = null;
    (facts.streams || []).slice(-MOST).forEach(function (stream) {
      var one = this.channel(stream.channel);
      this.current = stream.channel;
      if (stream.size) { this.resize(stream.size); }
      if (stream.modes) { one.term.write(stream.modes); }
    }, this);
    this.current = facts.channel || "0";
  };

  /* Lines as they stand in the recording; what isn't to be seen is passed over. */
  Terminals.prototype.feed = function (text) {
    var waiting = "", size = "", self = this;
    function flush() {
      if (waiting) { self.write(waiting); }
      waiting = "";
    }
    function settle() {
      if (size) { self.resize(size); }
      size = "";
    }
    text.split("\n").forEach(function (line) {
      var event;
      try { event = JSON.parse(line); } catch (torn) { return; }
      if (!Array.isArray(event) || typeof event[2] !== "string") { return; }
      if (event[1] === "o") {
        settle();
        waiting += event[2];
      } else if (event[1] === "r") {
        flush();
        size = event[2];
      } else if (event[1] === "c") {
        settle();
        flush();
        self.current = event[2].split(" ")[0];
      } else if (event[1] === "m") {
        self.onmark(event[0], event[2]);
      }
    });
    settle();
    flush();
  };

  Terminals.prototype.write = function (text) {
    var one = this.channel(this.current), now = performance.now();
    one.at = now;
    one.term.write(text);
    var seen = this.channels.get(this.shown);
    if (this.shown === null || (this.follows && this.shown !== this.current && (!seen || now - seen.at > LULL))) {
      this.show(this.current);
    }
  };

  Terminals.prototype.resize = function (text) {
    var found = /^(\d{1,4})x(\d{1,4})$/.exec(text), one = this.channel(this.current);
    if (!found) { return; }
    one.size = [
      Math.min(Math.max(Number(found[1]), 2), MOST_CELLS), Math.min(Math.max(Number(found[2]), 1), MOST_CELLS)
    ];
    this.refill();
    if (this.budget > 0) { this.settle(one); } else { this.wait(); }
  };

  Terminals.prototype.refill = function () {
    var now = performance.now();
    this.budget = Math.min(RESIZING, this.budget + (now - this.resized) * SHARE);
    this.resized = now;
  };

  Terminals.prototype.settle = function (one) {
    var size = one.size;
    one.size = null;
    one.term.options.convertEol = false;
    one.term.resize(size[0], size[1]);
    this.fit();
    this.budget -= performance.now() - this.resized;
    this.resized = performance.now();
  };

  /* Who resizes without end doesn't hold up who watches: of many sizes the last one counts, once there is time for it. */
  Terminals.prototype.wait = function () {
    var self = this;
    if (this.later !== null) { return; }
    this.later = setTimeout(function () {
      self.later = null;
      self.refill();
      self.channels.forEach(function (one) {
        if (!one.size) { return; }
        if (self.budget > 0) { self.settle(one); } else { self.wait(); }
      });
    }, 100 + Math.max(0, -this.budget) / SHARE);
  };

  Terminals.prototype.channel = function (number) {
    var one = this.channels.get(number);
    if (one) { return one; }
    if (this.channels.size >= MOST) { this.drop(this.oldest()); }
    one = this.make(number);
    this.channels.set(number, one);
    this.tab(number, one);
    return one;
  };

  Terminals.prototype.oldest = function () {
    var found = null, self = this;
    this.channels.forEach(function (one, number) {
      if (number !== self.shown && (found === null || one.at < self.channels.get(found).at)) { found = number; }
    });
    return found;
  };

  Terminals.prototype.make = function (number) {
    var element = document.createElement("div");
    element.className = "watch-terminal";
    element.id = "watch-terminal-" + number;
    element.setAttribute("role", "tabpanel");
    element.setAttribute("aria-label", "Channel " + number);
    element.hidden = true;
    this.box.append(element);
    var term = new window.Terminal({
      cols: 80, rows: 24, scrollback: ROWS_KEPT, disableStdin: true, convertEol: true, cursorBlink: false,
      fontSize: USUAL, fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
      screenReaderMode: false, allowProposedApi: false, theme: { background: "#121314", foreground: "#e6e6e6" },
      linkHandler: { activate: function () {}, allowNonHttpProtocols: false }, windowOptions: {}
    });
    [0, 1, 2, 4, 7, 8, 9, 10, 11, 12, 50, 52, 104, 110, 111, 112, 133, 777, 1337].forEach(function (code) {
      term.parser.registerOscHandler(code, swallow);
    });
    window.boundTerminal(term);
    term.attachCustomKeyEventHandler(function (event) { return event.key !== "Tab" && event.key.length > 1; });
    term.open(element);
    return { term: term, element: element, at: 0, tab: null, size: null };
  };

  Terminals.prototype.drop = function (number) {
    var one = this.channels.get(number);
    if (!one) { return; }
    this.channels.delete(number);
    one.term.dispose();
    one.element.remove();
    one.tab.remove();
    this.onchange(this.channels.size);
  };

  Terminals.prototype.tab = function (number, one) {
    var self = this, tab = document.createElement("button");
    tab.type = "button";
    tab.className = "watch-tab";
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", one.element.id);
    tab.setAttribute("aria-selected", "false");
    tab.tabIndex = -1;
    tab.textContent = "Channel " + number;
    tab.addEventListener("click", function () { self.choose(number); });
    tab.addEventListener("keydown", function (event) {
      var step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], all = Array.from(self.channels.keys());
      if (!step) { return; }
      var next = all[(all.indexOf(number) + step + all.length) % all.length];
      self.choose(next);
      self.channels.get(next).tab.focus();
    });
    this.tabs.append(tab);
    one.tab = tab;
    this.onchange(this.channels.size);
  };

  /* Somebody picked a channel: it stays. */
  Terminals.prototype.choose = function (number) {
    this.follows = false;
    this.show(number);
    this.onchange(this.channels.size);
  };

  Terminals.prototype.show = function (number) {
    this.shown = number;
    this.channels.forEach(function (one, name) {
      var is = name === number;
      one.element.hidden = !is;
      one.tab.setAttribute("aria-selected", String(is));
      one.tab.tabIndex = is ? 0 : -1;
    });
    this.fit();
  };

  /* Letters as large as the width allows, so that a whole row is seen; or their usual size, and one scrolls. */
  Terminals.prototype.fit = function () {
    var one = this.channels.get(this.shown);
    if (!one) { return; }
    var screen = one.element.querySelector(".xterm-screen");
    if (!this.fits || !screen) {
      if (one.term.options.fontSize !== USUAL) { one.term.options.fontSize = USUAL; }
      return;
    }
    var width = this.box.clientWidth - 20, now = one.term.options.fontSize, is = screen.getBoundingClientRect().width;
    if (!is || !width) { return; }
    var size = Math.min(LARGEST, Math.max(SMALLEST, Math.floor(now * width / is * 4) / 4));
    if (Math.abs(size - now) >= 0.25) { one.term.options.fontSize = size; }
  };

  window.WatchTerminals = Terminals;
})();
