/* Files beside the terminal: a folder's list, uploads and downloads one after another, each with its progress.
   Names come from the asset: they are shown as text and never as anything else. */
(function () {
  "use strict";

  var UNDER_WAY = 256 * 1024;
  var PIECE = 32 * 1024;
  var ONE_PART = 64 * 1024;
  var LARGEST = 1024 * 1024 * 1024;
  var KINDS = { folder: "▸", file: "·", link: "↪", other: "?" };
  var byId = function (id) { return document.getElementById(id); };

  function size(bytes) {
    var units = ["B", "kB", "MB", "GB", "TB"];
    var at = 0;
    while (bytes >= 1000 && at < units.length - 1) { bytes /= 1000; at += 1; }
    return (at ? bytes.toFixed(1) : bytes) + " " + units[at];
  }

  function join(folder, name) {
    return folder.replace(/\/+$/, "") + "/" + name;
  }

  function part(name, text) {
    var span = document.createElement("span");
    span.className = name;
    span.textContent = text;
    return span;
  }

  window.breakglassFiles = function (send, changed) {
    var panel = byId("files");
    if (!panel) { return null; }
    var numbers = 0;
    var folder = "";
    var entries = [];
    var listing = 0;
    var queue = [];
    var current = null;
    var isOver = false;

    /* The list. ---------------------------------------------------------------------------------------- */

    function list(path) {
      listing = ++numbers;
      entries = [];
      refused("");
      send({ t: "list", id: listing, path: path });
    }

    function listed(said) {
      send({ t: "file-took", n: ONE_PART });
      if (said.id !== listing) { return; }
      folder = said.path;
      entries = entries.concat(said.entries);
      byId("files-path").value = folder;
      if (said.last) { drawList(said.cut); }
    }

    function drawList(cut) {
      var rows = entries.map(row);
      if (folder !== "/") { rows.unshift(row({ name: "..", kind: "folder", size: 0, up: true })); }
      if (!entries.length) { rows.push(line("The folder is empty. Upload something, or go to another one.")); }
      if (cut) { rows.push(line("There is more: only the first " + entries.length + " are shown. Use sftp for the rest.")); }
      byId("files-list").replaceChildren.apply(byId("files-list"), rows);
    }

    function line(text) {
      var item = document.createElement("li");
      item.className = "soft small";
      item.textContent = text;
      return item;
    }

    function row(entry) {
      var item = document.createElement("li");
      var button = document.createElement("button");
      button.type = "button";
      var mark = part("kind", KINDS[entry.kind] || "?");
      mark.setAttribute("aria-hidden", "true");
      button.append(mark, part("said", entry.kind === "folder" ? "Open folder " : "Download "), part("name", entry.up ? ".. (up)" : entry.name), part("size", entry.kind === "file" ? size(entry.size) : ""));
      button.addEventListener("click", function () {
        if (entry.up) { list(folder.replace(/\/[^/]*\/?$/, "") || "/"); return; }
        if (entry.kind === "folder") { list(join(folder, entry.name)); return; }
        download(entry);
      });
      item.append(button);
      return item;
    }

    function refused(text) {
      byId("files-no").textContent = text;
      byId("files-no").hidden = !text;
    }

    /* Transfers: a row each, one runs at a time. --------------------------------------------------------- */

    function move(kind, name, total) {
      var item = document.createElement("li");
      var stop = document.createElement("button");
      stop.type = "button";
      stop.className = "btn small quiet";
      stop.textContent = "Stop";
      var bar = document.createElement("progress");
      bar.max = Math.max(1, total);
      bar.value = 0;
      bar.setAttribute("aria-label", (kind === "put" ? "Upload of " : "Download of ") + name);
      var said = part("said-so", "waits");
      item.append(part("name", (kind === "put" ? "↑ " : "↓ ") + name), stop, bar, said);
      byId("moves").prepend(item);
      byId("moves-box").hidden = false;
      var made = { id: ++numbers, kind: kind, name: name, total: total, done: 0, item: item, bar: bar, said: said, stop: stop, credit: UNDER_WAY };
      stop.addEventListener("click", function () { halt(made); });
      queue.push(made);
      return made;
    }

    function next() {
      if (current || isOver) { return; }
      current = queue.shift() || null;
      if (!current) { return; }
      current.said.textContent = "begins";
      send({ t: current.kind, id: current.id, path: current.path, size: current.total, replace: Boolean(current.replace) });
    }

    function halt(one) {
      if (one === current) { send({ t: "file-stop", id: one.id }); one.said.textContent = "stopping"; return; }
      queue = queue.filter(function (waits) { return waits !== one; });
      finish(one, "Stopped before it began.", true);
    }

    function progress(one) {
      one.bar.max = Math.max(1, one.total);
      one.bar.value = one.total ? one.done : 1;
      one.said.textContent = size(one.done) + " of " + size(one.total);
    }

    function finish(one, text, failed) {
      one.said.textContent = text;
      one.item.classList.toggle("failed", Boolean(failed));
      one.item.classList.toggle("done", !failed);
      one.stop.remove();
      if (!failed) { one.bar.value = one.bar.max; }
      byId("said").textContent = one.name + ": " + text;
      if (one === current) { current = null; next(); }
    }

    function download(entry) {
      if (entry.size > LARGEST) { refused(entry.name + " is too big for a browser: use sftp or scp."); return; }
      var one = move("get", entry.name, entry.size);
      one.path = join(folder, entry.name);
      one.pieces = [];
      next();
    }

    function save(one) {
      var link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(one.pieces, { type: "application/octet-stream" }));
      link.download = one.name;
      link.click();
      setTimeout(function () { URL.revokeObjectURL(link.href); }, 60000);
      one.pieces = [];
    }

    function upload(list) {
      Array.from(list).forEach(function (file) {
        var one = move("put", file.name, file.size);
        one.path = join(folder, file.name);
        one.file = file;
      });
      next();
    }

    /* As much as the other side said it takes: a slice of the file at a time, never the whole. */
    function feed(one) {
      if (one !== current || one.reading || one.read >= one.file.size || one.credit < PIECE) { return; }
      one.reading = true;
      one.file.slice(one.read, one.read + PIECE).arrayBuffer().then(function (buffer) {
        one.reading = false;
        if (one !== current || isOver) { return; }
        var message = new Uint8Array(buffer.byteLength + 1);
        message[0] = 1;
        message.set(new Uint8Array(buffer), 1);
        one.read += buffer.byteLength;
        one.credit -= buffer.byteLength;
        send(message);
        feed(one);
      }, function () {
        send({ t: "file-stop", id: one.id });
        one.unreadable = true;
      });
    }

    /* There is a file of that name: the person decides. */
    function ask(one) {
      var yes = document.createElement("button");
      yes.type = "button";
      yes.className = "btn small quiet stop";
      yes.textContent = "Replace it";
      current = null;
      finish(one, "There is a file of that name. ", true);
      one.said.append(yes);
      yes.addEventListener("click", function () {
        var again = move("put", one.name, one.total);
        again.path = one.path;
        again.file = one.file;
        again.replace = true;
        one.item.remove();
        next();
      });
      next();
    }

    function bytes(data) {
      send({ t: "file-took", n: data.length });
      if (!current || current.kind !== "get") { return; }
      current.pieces.push(data.slice());
      current.done += data.length;
      if (current.done > LARGEST) { send({ t: "file-stop", id: current.id }); current.pieces = []; return; }
      current.total = Math.max(current.total, current.done);
      progress(current);
    }

    function heard(said) {
      if (said.t === "list") { listed(said); return; }
      if (said.t === "no" && said.id === listing) { refused(said.says); return; }
      var one = current;
      if (!one || said.id !== one.id) { return; }
      switch (said.t) {
        case "get": one.total = said.size; progress(one); break;
        case "got": save(one); finish(one, "Downloaded, " + size(said.bytes) + "."); break;
        case "put": one.read = 0; progress(one); feed(one); break;
        case "sent": one.done += said.n; one.credit += said.n; progress(one); feed(one); break;
        case "put-done": finish(one, "Uploaded, " + size(said.bytes) + "."); list(folder); break;
        case "exists": ask(one); break;
        case "no": finish(one, one.unreadable ? "The browser can't read that file." : said.says, true); break;
      }
    }

    /* Showing it. ---------------------------------------------------------------------------------------- */

    function show(on) {
      if (on) { document.dispatchEvent(new CustomEvent("files-shown")); }
      panel.hidden = !on;
      var button = byId("files-toggle");
      if (button) { button.setAttribute("aria-expanded", String(on)); }
      if (on && !folder) { list(""); }
      if (on) { byId("files-path").focus(); }
      changed();
    }

    function over() {
      isOver = true;
      if (current) { finish(current, "Not finished: the terminal is over.", true); }
      queue.splice(0).forEach(function (one) { finish(one, "Not begun: the terminal is over.", true); });
    }

    if (byId("files-toggle")) {
      byId("files-toggle").addEventListener("click", function () { show(panel.hidden); });
      byId("files-close").addEventListener("click", function () { show(false); byId("files-toggle").focus(); });
    }
    byId("files-where").addEventListener("submit", function (event) { event.preventDefault(); list(byId("files-path").value); });
    byId("files-again").addEventListener("click", function () { list(folder); });
    byId("files-upload").addEventListener("click", function () { byId("files-pick").click(); });
    byId("files-pick").addEventListener("change", function () { upload(byId("files-pick").files); byId("files-pick").value = ""; });
    ["dragover", "drop", "dragleave"].forEach(function (name) {
      panel.addEventListener(name, function (event) {
        event.preventDefault();
        panel.classList.toggle("dropping", name === "dragover");
        if (name === "drop") { upload(event.dataTransfer.files); }
      });
    });
    return { bytes: bytes, heard: heard, over: over, show: function () { show(true); }, hide: function () { if (!panel.hidden && byId("files-toggle")) { show(false); } } };
  };
})();
