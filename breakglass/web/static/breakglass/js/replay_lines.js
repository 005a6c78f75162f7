/* Reading lines out of chunks: the events of a stretch, and which channel is looked at. A place is [chunk, line]: the
   next line that hasn't been shown. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var latin = new TextDecoder("latin1");
  var OUTPUT = 111, RESIZE = 114, MARK = 109;
  var STAYS = 2;

  /* The place after the last line that isn't later than `time`. The chunk is held. */
  function after(chunks, time) {
    var n = chunkAt(chunks, time), held = chunks.held.get(n);
    var low = 0, high = held.count;
    while (low < high) {
      var middle = (low + high) >> 1;
      if (held.times[middle] > time) { high = middle; } else { low = middle + 1; }
    }
    return [n, low];
  }

  /* The chunk in which the last line begins that isn't later. */
  function chunkAt(chunks, time) {
    var starts = chunks.index.starts, low = 0, high = starts.length - 1;
    while (low < high) {
      var middle = (low + high + 1) >> 1;
      if (starts[middle] <= time) { low = middle; } else { high = middle - 1; }
    }
    return low;
  }

  /* The text of lines i to j (not included) of a chunk; the last may end in the next chunks. */
  function text(chunks, n, i, j) {
    var held = chunks.held.get(n);
    if (i >= j) { return ""; }
    var out = latin.decode(held.bytes.subarray(held.begins[i], j < held.count ? held.begins[j] : held.bytes.length));
    while (j >= held.count && out.charCodeAt(out.length - 1) !== 10) {
      var rest = chunks.held.get(++n);
      if (!rest) { break; }
      out += latin.decode(rest.bytes.subarray(0, chunks.index.firsts[n]));
    }
    return out;
  }

  function events(lines) {
    try {
      return JSON.parse("[" + lines.trimEnd().replace(/\n/g, ",") + "]");
    } catch (torn) {
      return lines.split("\n").map(function (line) {
        try { return JSON.parse(line); } catch (damaged) { return null; }
      });
    }
  }

  /* Gives what the lines from one place to another show: `put.output(text)`, `put.resize("80x24")`. */
  function show(chunks, n, i, j, channel, put) {
    var held = chunks.held.get(n), all = channel === null;
    while (i < j) {
      var end = i;
      if (all) { end = j; } else {
        while (i < j && held.channels[i] !== channel) { i++; }
        end = i;
        while (end < j && held.channels[end] === channel) { end++; }
      }
      if (i < end) { give(events(text(chunks, n, i, end)), put); }
      i = end;
    }
  }

  function give(found, put) {
    var shown = [];
    for (var k = 0; k < found.length; k++) {
      var event = found[k];
      if (!Array.isArray(event) || typeof event[2] !== "string") { continue; }
      if (event[1] === "o") { shown.push(event[2]); }
      if (event[1] === "r") {
        if (shown.length) { put.output(shown.join("")); shown = []; }
        put.resize(event[2]);
      }
    }
    if (shown.length) { put.output(shown.join("")); }
  }

  /* Which channel is active after these lines: the one that showed something last, but not before the one that is looked
     at has been silent for a while. `state` is {channel, at}. */
  function follow(chunks, n, i, j, state) {
    var held = chunks.held.get(n);
    for (; i < j; i++) {
      if (held.codes[i] !== OUTPUT) { continue; }
      if (held.channels[i] === state.channel || state.channel < 0 || held.times[i] - state.at > STAYS) {
        state.channel = held.channels[i];
        state.at = held.times[i];
      }
    }
    return state;
  }

  /* The time of the next thing that is seen from a place on (or, with step -1, of the one before it); null at the end. */
  function moment(chunks, place, channel, step) {
    var n = place[0], i = place[1] + (step < 0 ? -1 : 0), limit = 3;
    for (;;) {
      var held = chunks.held.get(n);
      if (!held) { return n < 0 ? 0 : n >= chunks.count ? null : chunks.index.starts[n]; }
      for (; i >= 0 && i < held.count; i += step) {
        var code = held.codes[i];
        if (code === MARK || ((code === OUTPUT || code === RESIZE) && (channel === null || held.channels[i] === channel))) { return held.times[i]; }
      }
      n += step;
      if (n < 0 || n >= chunks.count) { return n < 0 ? 0 : null; }
      if (!chunks.held.get(n) || --limit === 0) { return chunks.index.starts[n]; }
      i = step < 0 ? chunks.held.get(n).count - 1 : 0;
    }
  }

  Replay.lines = { after: after, chunkAt: chunkAt, show: show, follow: follow, moment: moment };
})();
