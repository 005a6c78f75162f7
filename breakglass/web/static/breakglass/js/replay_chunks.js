/* The recording in chunks of a MiB: fetched many at once, each gzip, unpacked by the browser. Only those near the position
   are kept, of all but a short recording. Where a line begins in each chunk, and when, is noted in typed arrays: a recording
   of 400,000 events costs its bytes and little more. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var KEPT = 72;
  var CODES = { 111: 1, 114: 1, 109: 1, 99: 1 };

  function Chunks(index, address, atOnce) {
    this.index = index;
    this.count = index.starts.length;
    this.address = address;
    this.atOnce = atOnce;
    this.held = new Map();
    this.coming = new Map();
    this.receipts = new Map();
    this.near = 0;
  }

  /* Chunks that are held at once: a recording with more of them is read in parts. */
  Chunks.WHOLE = 64;

  Chunks.prototype.isWhole = function () { return this.count <= Chunks.WHOLE; };

  Chunks.prototype.has = function (first, last) {
    for (var n = first; n <= last; n++) {
      if (!this.held.has(n)) { return false; }
    }
    return true;
  };

  /* The last chunk that one must hold to read all lines that begin in chunk n. */
  Chunks.prototype.needed = function (n) {
    var last = n;
    do { last++; } while (last < this.count - 1 && this.index.firsts[last] >= 1048576);
    return Math.min(last, this.count - 1);
  };

  /* Until all of these are held. Rejects with the server's words. */
  Chunks.prototype.ensure = function (first, last) {
    var waits = [];
    first = Math.max(0, first);
    last = Math.min(last, this.count - 1);
    for (var n = first; n <= last; n++) {
      if (this.held.has(n)) { continue; }
      if (!this.coming.has(n)) {
        var end = n;
        while (end < last && end - n + 1 < this.atOnce && !this.held.has(end + 1) && !this.coming.has(end + 1)) { end++; }
        this.fetch(n, end);
      }
      waits.push(this.coming.get(n));
    }
    return Promise.all(waits);
  };

  /* Each chunk is promised by itself: what came first is shown while the rest is on its way. */
  Chunks.prototype.fetch = function (first, last) {
    var self = this, due = new Map();
    for (var n = first; n <= last; n++) { this.coming.set(n, this.promised(due, n)); }
    var url = this.address.replace("/0/0/", "/" + first + "/" + last + "/");
    fetch(url, { credentials: "same-origin", headers: { "X-Viewing": this.index.ticket } }).then(function (answer) {
      if (!answer.ok) { return Replay.words(answer).then(function (said) { throw new Error(said); }); }
      for (var n = first; n <= last; n++) { self.receipts.set(n, answer.headers.get("X-Served")); }
      return frames(answer.body.getReader(), first, function (n, bytes) {
        self.put(n, bytes);
        self.coming.delete(n);
        if (due.has(n)) { due.get(n).resolve(); }
        due.delete(n);
      });
    }).then(function () {
      if (due.size) { throw new Error("The recording broke off on its way. Load the page again."); }
      self.forget();
    }).catch(function (error) {
      due.forEach(function (wait, n) {
        self.coming.delete(n);
        wait.reject(error);
      });
    });
  };

  Chunks.prototype.promised = function (due, n) {
    var promise = new Promise(function (resolve, reject) { due.set(n, { resolve: resolve, reject: reject }); });
    promise.catch(function () {});
    return promise;
  };

  Chunks.prototype.put = function (n, bytes) {
    this.held.set(n, lines(bytes, this.index.firsts[n], this.index.channels[n]));
  };

  Chunks.prototype.forget = function () {
    var near = this.near;
    var far = Array.from(this.held.keys()).sort(function (a, b) { return Math.abs(b - near) - Math.abs(a - near); });
    while (this.held.size > KEPT) { this.held.delete(far.shift()); }
  };

  /* Each frame is its length and a gzip member; all are unpacked side by side. */
  function frames(reader, first, put) {
    var parts = [], size = 0, number = first, waits = [];

    function take(count) {
      var out = new Uint8Array(count), at = 0;
      while (at < count) {
        var part = parts[0], some = Math.min(part.length, count - at);
        out.set(part.subarray(0, some), at);
        at += some;
        if (some === part.length) { parts.shift(); } else { parts[0] = part.subarray(some); }
      }
      size -= count;
      return out;
    }

    var wants = -1;

    function unpack(n, packed) {
      var plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
      return new Response(plain).arrayBuffer().then(function (buffer) { put(n, new Uint8Array(buffer)); });
    }

    function more() {
      return reader.read().then(function (got) {
        if (got.done) { return Promise.all(waits).then(function () { return number - first; }); }
        parts.push(got.value);
        size += got.value.length;
        for (;;) {
          if (wants < 0 && size >= 4) { wants = new DataView(take(4).buffer).getUint32(0); }
          if (wants < 0 || size < wants) { break; }
          waits.push(unpack(number++, take(wants)));
          wants = -1;
        }
        return more();
      });
    }
    return more();
  }

  /* Where lines begin, when, what they are and on which channel. */
  function lines(bytes, first, channel) {
    var room = 4096, count = 0;
    var begins = new Uint32Array(room), times = new Float64Array(room), codes = new Uint8Array(room), channels = new Uint32Array(room);
    var at = first, time = 0;
    while (at < bytes.length) {
      if (count === room) {
        room *= 2;
        begins = grown(begins, room); times = grown(times, room); codes = grown(codes, room); channels = grown(channels, room);
      }
      var code = 0, place = at + 1;
      if (bytes[at] === 91) {
        var whole = 0, scale = 0, digit = bytes[place];
        while ((digit >= 48 && digit <= 57) || digit === 46) {
          if (digit === 46) { scale = 1; } else { whole = whole * 10 + digit - 48; scale *= 10; }
          digit = bytes[++place];
        }
        if (digit === 44 && bytes[place + 1] === 34) {
          time = Math.max(time, whole / (scale || 1));
          code = CODES[bytes[place + 2]] ? bytes[place + 2] : 0;
          if (code === 99) { channel = channelOf(bytes, place + 6); }
        }
      }
      begins[count] = at;
      times[count] = time;
      codes[count] = code;
      channels[count] = channel;
      count++;
      at = bytes.indexOf(10, at) + 1;
      if (at === 0) { break; }
    }
    return { bytes: bytes, count: count, begins: begins, times: times, codes: codes, channels: channels };
  }

  function channelOf(bytes, at) {
    var number = 0;
    for (var digit = bytes[at]; digit >= 48 && digit <= 57; digit = bytes[++at]) { number = number * 10 + digit - 48; }
    return number;
  }

  function grown(array, room) {
    var bigger = new array.constructor(room);
    bigger.set(array);
    return bigger;
  }

  /* What the server says of why not. */
  Replay.words = function (answer) {
    return answer.text().then(function (body) {
      try { return JSON.parse(body).message || "HTTP " + answer.status; } catch (page) { return "The server answered " + answer.status + ". Load the page again."; }
    });
  };

  Replay.Chunks = Chunks;
})();
