/* The browser's half of a terminal: xterm.js draws, one WebSocket carries. It is joined to one session of the gateway
   and to no second one: when the line is lost, the page says what happened and what to do.

   Bytes begin with what they are (0 the terminal's, 1 a file's); objects have a `t`. Whoever receives says how much it
   took, so that nothing piles up on either side. */
(function () {
  "use strict";

  var box = document.getElementById("terminal");
  if (!box) { return; }
  var NONCE = document.currentScript.nonce;
  var TYPED_AHEAD = 64 * 1024;
  var PIECE = 16 * 1024;
  var TOOK_EVERY = 32 * 1024;
  var SIZES = [11, 12, 13, 14, 15, 16, 18, 20, 22, 24];
  var hasShell = Boolean(box.dataset.shell);
  var byId = function (id) { return document.getElementById(id); };
  var encoder = new TextEncoder();
  var socket = null;
  var isOpen = false;
  var parting = null;
  var ticket = box.dataset.ticket;
  box.removeAttribute("data-ticket");

  /* Under our content security policy a style that a script creates counts when it bears the page's nonce, and a style
     attribute counts when it is set by CSSOM. xterm does neither by itself, and loses its colours. */
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

  /* What a person chose for terminals, kept on this device. */
  function chosen(name, otherwise) {
    try { return window.localStorage.getItem("terminal-" + name) || otherwise; } catch (forbidden) { return otherwise; }
  }

  function choose(name, value) {
    try { window.localStorage.setItem("terminal-" + name, value); } catch (forbidden) { /* private windows */ }
  }

  function say(text) {
    var region = byId("said");
    if (region) { region.textContent = text; }
  }

  /* The socket. ------------------------------------------------------------------------------------------ */

  function send(message) {
    if (socket && socket.readyState === WebSocket.OPEN) {
      socket.send(message instanceof Uint8Array ? message : JSON.stringify(message));
    }
  }

  function connect() {
    if (location.origin !== box.dataset.origin) {
      part("refused", "Terminals open only on the page at its own address: " + box.dataset.origin + ".");
      return;
    }
    socket = new WebSocket(location.origin.replace(/^http/, "ws") + box.dataset.socket);
    socket.binaryType = "arraybuffer";
    socket.onopen = function () {
      var size = term ? { cols: term.cols, rows: term.rows } : { cols: 80, rows: 24 };
      send({ t: "hello", ticket: ticket, cols: size.cols, rows: size.rows });
    };
    socket.onmessage = function (event) {
      if (event.data instanceof ArrayBuffer) { bytes(new Uint8Array(event.data)); } else { heard(JSON.parse(event.data)); }
    };
    socket.onclose = function (event) {
      isOpen = false;
      if (!parting) { part("lost", event.reason || lostWords(event.code)); }
    };
  }

  function lostWords(code) {
    if (!navigator.onLine) { return "This device has no network."; }
    return code === 1012 || code === 1001 ? "The web page's server is starting again." : "The line to the web page's server was lost.";
  }

  function bytes(data) {
    if (data[0] === 0) { shown(data.subarray(1)); } else if (files) { files.bytes(data.subarray(1)); }
  }

  function heard(said) {
    switch (said.t) {
      case "open": opened(said); break;
      case "typed": typedCredit += said.n; flush(); break;
      case "ends": until(said.ends); break;
      case "end": part(said.kind, said.says); break;
      default: if (files) { files.heard(said); }
    }
  }

  function opened(said) {
    isOpen = true;
    state("live", "recorded");
    if (term && said.banner) { term.write(said.banner.replace(/\n/g, "\r\n") + "\r\n"); }
    if (said.session) {
      var link = byId("session-link");
      link.href = "/sessions/" + said.session + "/";
      link.textContent = said.label;
      box.dataset.session = said.session;
      document.title = said.label + " " + said.asset + " · Breakglass";
      until(said.ends);
      window.htmx.ajax("GET", link.pathname + "beside/", { target: "#beside", swap: "innerHTML" });
    }
    say("The terminal is open.");
    fit();
    if (term) { term.focus(); }
    if (files && !hasShell) { files.show(); }
  }

  function until(milliseconds) {
    var clock = byId("left");
    if (!milliseconds) { return; }
    var time = clock.querySelector("time");
    time.dataset.until = String(milliseconds);
    time.dataset.over = "ended";
    clock.querySelector("[data-nearly]").dataset.nearly = String(milliseconds);
    time.title = new Date(milliseconds).toUTCString();
    clock.hidden = false;
  }

  function state(kind, word) {
    byId("state").className = "pill " + kind;
    byId("state-word").textContent = word;
    var use = byId("state").querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, "#" + (kind === "live" ? "live" : "ended")));
  }

  /* The end. --------------------------------------------------------------------------------------------- */

  var TITLES = {
    exit: "The shell is over", "ended-here": "You ended the session", ended: "The session was ended",
    refused: "No terminal", lost: "The line was lost", "login-over": "Your login is over"
  };
  var NEXT = {
    exit: "The session is over with it, and its recording is kept. Your access lives on until its end.",
    "ended-here": "Its recording is kept. Your access lives on until its end: release it when you are done.",
    ended: "What is on the screen is the last of it.",
    refused: "Nothing was opened.",
    lost: "The session is over: nothing goes on by itself there that you don't see. Programs that ran in it may have been stopped; look before you do it again. Your access lives on until its end: open another terminal, or use ssh.",
    "login-over": "The session is over. Log in again; while your access lives you can open another."
  };

  function part(kind, says) {
    if (parting) { return; }
    parting = kind;
    isOpen = false;
    state(kind === "exit" || kind === "ended-here" ? "" : "stop", "over");
    byId("parting-title").textContent = TITLES[kind] || TITLES.lost;
    byId("parting-says").textContent = says === TITLES[kind] + "." ? "" : says;
    byId("parting-next").textContent = NEXT[kind] || "";
    var dialog = byId("parting");
    dialog.classList.add(kind === "exit" || kind === "ended-here" ? "fine" : "stop");
    if (byId("main")) { byId("main").classList.add("over"); }
    if (term) { term.options.disableStdin = true; term.options.cursorBlink = false; }
    if (files) { files.over(); }
    dialog.showModal();
    byId("parting-title").focus(); /* no button: whoever types on must not press it */
    if (socket) { socket.close(1000); }
  }

  /* The screen. ------------------------------------------------------------------------------------------ */

  var term = null;
  var fitter = null;
  var took = 0;
  var typedCredit = TYPED_AHEAD;
  var waiting = [];

  function shown(data) {
    if (!term) { return; }
    term.write(data, function () {
      took += data.length;
      if (took >= TOOK_EVERY) { tell(); }
    });
    if (!telling) { telling = setTimeout(tell, 50); }
  }

  var telling = 0;

  function tell() {
    clearTimeout(telling);
    telling = 0;
    if (took) { send({ t: "took", n: took }); took = 0; }
  }

  function type(data) {
    if (!isOpen || !data.length) { return; }
    for (var at = 0; at < data.length; at += PIECE) { waiting.push(data.subarray(at, at + PIECE)); }
    flush();
  }

  function flush() {
    while (waiting.length && typedCredit >= waiting[0].length) {
      var piece = waiting.shift();
      var message = new Uint8Array(piece.length + 1);
      message.set(piece, 1);
      typedCredit -= piece.length;
      send(message);
    }
  }

  function draw() {
    dress();
    var style = getComputedStyle(document.documentElement);
    term = new window.Terminal({
      fontFamily: style.getPropertyValue("--mono").trim() || "monospace",
      fontSize: Number(chosen("size", window.innerWidth < 640 ? "12" : "14")),
      lineHeight: 1.15,
      scrollback: 5000,
      cursorBlink: !window.matchMedia("(prefers-reduced-motion: reduce)").matches,
      screenReaderMode: chosen("reader", "") === "on",
      macOptionIsMeta: true,
      rightClickSelectsWord: false,
      /* An asset's links, titles and clipboards do nothing here. */
      linkHandler: { activate: function () {}, hover: function () {}, leave: function () {} },
      windowOptions: {},
      theme: {
        background: "#10171a", foreground: "#e6edea", cursor: "#f2c469", cursorAccent: "#10171a",
        selectionBackground: "#3c6478",
        black: "#2b3538", red: "#ff8a80", green: "#7fd9a0", yellow: "#f2c469", blue: "#7cb8ff",
        magenta: "#d9a5ff", cyan: "#6fd7dd", white: "#d5dedb", brightBlack: "#8a9895", brightRed: "#ffb0a8",
        brightGreen: "#a8ecc0", brightYellow: "#ffdf9a", brightBlue: "#a9d1ff", brightMagenta: "#e7c6ff",
        brightCyan: "#a2eef2", brightWhite: "#ffffff"
      }
    });
    window.boundTerminal(term);
    fitter = new window.FitAddon.FitAddon();
    term.loadAddon(fitter);
    term.open(byId("screen"));
    var through = window.breakglassKeys(byId("keys"), function (text) { type(encoder.encode(text)); }, function () {
      return term.modes.applicationCursorKeysMode;
    });
    term.onData(function (text) { type(encoder.encode(through(text))); });
    term.onBinary(function (text) { type(Uint8Array.from(text, function (c) { return c.charCodeAt(0) & 255; })); });
    term.onBell(ring);
    term.onResize(function (size) { if (isOpen) { send({ t: "size", cols: size.cols, rows: size.rows }); } });
    term.attachCustomKeyEventHandler(shortcut);
    new ResizeObserver(soonFit).observe(byId("main"));
    if (document.fonts && document.fonts.ready) { document.fonts.ready.then(fit); }
    fit();
  }

  var fitting = 0;

  function soonFit() {
    clearTimeout(fitting);
    fitting = setTimeout(fit, 60);
  }

  function fit() {
    if (fitter && byId("main").offsetWidth) { fitter.fit(); }
  }

  function shortcut(event) {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) { return true; }
    if (event.code === "KeyC") { event.preventDefault(); copy(); return false; }
    if (event.code === "KeyV") { return false; }
    if (event.code === "ArrowUp") { event.preventDefault(); (byId("files-toggle") || byId("copy")).focus(); return false; }
    return true;
  }

  function copy() {
    var text = term.getSelection();
    if (!text) { say("Nothing is selected."); return; }
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(text).then(function () { say("Copied."); }, function () { say("The browser didn't allow it."); });
    } else {
      byId("screen").querySelector("textarea").select();
      say(document.execCommand("copy") ? "Copied." : "The browser didn't allow it.");
    }
    term.focus();
  }

  function paste() {
    if (!navigator.clipboard || !navigator.clipboard.readText) { say("Paste with the keyboard: Ctrl, Shift and V."); return; }
    navigator.clipboard.readText().then(function (text) { term.paste(text); term.focus(); }, function () {
      say("The browser didn't allow it. Paste with the keyboard: Ctrl, Shift and V.");
    });
  }

  /* The bell: seen always, heard where somebody wants that. */
  function ring() {
    var screen = byId("main");
    screen.classList.add("rang");
    setTimeout(function () { screen.classList.remove("rang"); }, 200);
    if (chosen("sound", "") !== "on" || !window.AudioContext) { return; }
    audio = audio || new window.AudioContext();
    var tone = audio.createOscillator();
    var volume = audio.createGain();
    volume.gain.value = 0.05;
    tone.frequency.value = 660;
    tone.connect(volume).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + 0.12);
  }

  var audio = null;

  function toggle(id, name, on) {
    var button = byId(id);
    button.setAttribute("aria-pressed", String(chosen(name, "") === "on"));
    button.addEventListener("click", function () {
      choose(name, chosen(name, "") === "on" ? "off" : "on");
      button.setAttribute("aria-pressed", String(chosen(name, "") === "on"));
      if (on) { on(chosen(name, "") === "on"); }
    });
  }

  function letters(step) {
    var at = SIZES.indexOf(term.options.fontSize);
    var size = SIZES[Math.max(0, Math.min(SIZES.length - 1, (at < 0 ? 3 : at) + step))];
    term.options.fontSize = size;
    choose("size", String(size));
    fit();
    say("Letters of " + size + " pixels.");
  }

  /* Beside the terminal: one panel at a time. Who watches is said above the screen, whatever is open. */
  function besides() {
    var panel = byId("beside-box");
    var button = byId("beside-toggle");
    function show(on) {
      if (on && files) { files.hide(); }
      panel.hidden = !on;
      byId("news").hidden = byId("news").hidden || on;
      button.setAttribute("aria-expanded", String(on));
      soonFit();
      if (on && byId("chat-text")) { byId("chat-text").focus(); }
    }
    button.addEventListener("click", function () { show(panel.hidden); });
    byId("beside-close").addEventListener("click", function () { show(false); button.focus(); });
    document.addEventListener("files-shown", function () { show(false); });
    document.addEventListener("htmx:load", function (event) {
      var came = event.detail.elt;
      if (came.id === "watchers") {
        var names = Array.from(came.querySelectorAll(".watchers li"));
        byId("watched").textContent = names.length ? (came.dataset.says || "").replace(/^Watching: /, "Watched by ") : "";
        byId("watched").hidden = !names.length;
        soonFit();
      } else if (came.id === "chat" && came.dataset.says && came.dataset.says !== heardLast) {
        heardLast = came.dataset.says;
        byId("news").hidden = !panel.hidden;
      }
    });
  }

  var heardLast = "";

  /* The phone's keyboard takes its part of the screen. */
  function view() {
    document.documentElement.style.setProperty("--view", window.visualViewport.height + "px");
    window.scrollTo(0, 0);
  }

  function wire() {
    byId("end").addEventListener("click", function () {
      if (isOpen) { send({ t: "end" }); } else if (!parting) { part("ended-here", TITLES["ended-here"] + "."); }
    });
    byId("look").addEventListener("click", function () { byId("parting").close(); });
    window.addEventListener("beforeunload", function (event) { if (isOpen) { event.preventDefault(); } });
    besides();
    if (window.visualViewport) { window.visualViewport.addEventListener("resize", view); }
    if (!hasShell) { return; }
    byId("smaller").addEventListener("click", function () { letters(-1); });
    byId("larger").addEventListener("click", function () { letters(1); });
    byId("copy").addEventListener("click", copy);
    byId("paste").addEventListener("click", paste);
    toggle("sound", "sound");
    toggle("reader", "reader", function (on) { term.options.screenReaderMode = on; });
  }

  if (hasShell) { draw(); }
  var files = window.breakglassFiles ? window.breakglassFiles(send, soonFit) : null;
  wire();
  connect();
})();
