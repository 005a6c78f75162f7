/* xterm.js does a thing as often as a sequence says, be it two thousand million times, and draws a letter with as many accents
   as were sent, be it a hundred thousand: the page stands still meanwhile, and nobody could freeze or end the session whose
   machine sent that. No program needs more repeats than a screen's lines and columns, and no language thirty accents on a
   letter (Unicode's stream-safe text, UAX 15). */
(function () {
  "use strict";

  var REPEATED = "@ILMPSTXZb";
  var MOST_MARKS = 30;
  var MARK = /[\p{M}\p{Cf}\u1160-\u11ff\x7f]/u; /* what xterm.js gives no column of its own: a DEL, too */
  var RUNS = /[\p{M}\p{Cf}\u1160-\u11ff\x7f]+|[^\p{M}\p{Cf}\p{Cc}\u1160-\u11ff]+/gu;

  /* Text in pieces, each without the marks that are too many; a control between two marks ends no row of them. */
  function Marks() { this.row = 0; }

  Marks.prototype.bound = function (text) {
    var self = this;
    if (!this.row && !MARK.test(text)) { return text; }
    return text.replace(RUNS, function (run) {
      if (!MARK.test(run)) { self.row = 0; return run; }
      var left = MOST_MARKS - self.row, marks = Array.from(run);
      self.row = Math.min(MOST_MARKS, self.row + marks.length);
      return marks.length <= left ? run : marks.slice(0, left).join("");
    });
  };

  window.boundTerminal = function (term) {
    var write = term.write, marks = new Marks(), decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    term.write = function (data, done) {
      var text = typeof data === "string" ? data : decoder.decode(data, { stream: true });
      write.call(term, marks.bound(text), done);
    };
    REPEATED.split("").forEach(function (final) {
      term.parser.registerCsiHandler({ final: final }, function (params) {
        return Number([].concat(params[0])[0]) > Math.max(term.rows, term.cols);
      });
    });
  };
})();
