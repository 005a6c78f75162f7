/* Keys that a phone's keyboard lacks, as the bytes that a terminal sends for them. Ctrl and Alt hold for one key. */
(function () {
  "use strict";

  var PLAIN = { escape: "\x1b", tab: "\t", home: "\x1b[H", end: "\x1b[F", pageup: "\x1b[5~", pagedown: "\x1b[6~" };
  var ARROWS = { up: "A", down: "B", right: "C", left: "D" };
  var APPLICATION = { home: "\x1bOH", end: "\x1bOF" };

  function bytesOf(name, application) {
    if (ARROWS[name]) { return (application ? "\x1bO" : "\x1b[") + ARROWS[name]; }
    return (application && APPLICATION[name]) || PLAIN[name];
  }

  /* What one typed character becomes while Ctrl or Alt are held. */
  function held(text, ctrl, alt) {
    if (ctrl && text.length === 1) {
      var code = text.toUpperCase().charCodeAt(0);
      if (text === " ") { text = "\x00"; } else if (code >= 63 && code <= 95) { text = String.fromCharCode(code === 63 ? 127 : code & 31); }
    }
    return alt ? "\x1b" + text : text;
  }

  window.breakglassKeys = function (bar, send, isApplication) {
    var holds = { ctrl: false, alt: false };
    var buttons = bar ? Array.from(bar.querySelectorAll("button")) : [];

    function hold(name, on) {
      holds[name] = on;
      buttons.forEach(function (button) {
        if (button.dataset.hold === name) { button.setAttribute("aria-pressed", String(on)); }
      });
    }

    function pressed(button) {
      if (button.dataset.hold) { hold(button.dataset.hold, !holds[button.dataset.hold]); return; }
      send(button.dataset.text ? through(button.dataset.text) : bytesOf(button.dataset.key, isApplication()));
    }

    function through(text) {
      var out = holds.ctrl || holds.alt ? held(text, holds.ctrl, holds.alt) : text;
      hold("ctrl", false);
      hold("alt", false);
      return out;
    }

    buttons.forEach(function (button) {
      /* The terminal keeps the focus, so that the phone's keyboard stays. */
      button.addEventListener("pointerdown", function (event) { event.preventDefault(); });
      button.addEventListener("click", function () { pressed(button); });
    });
    return through;
  };
})();
