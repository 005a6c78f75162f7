/* xterm.js does a thing as often as a sequence says, be it two thousand million times, and the page stands still meanwhile:
   nobody could freeze or end the session whose machine sent that. No program needs more than a screen's lines and columns. */
(function () {
  "use strict";

  var REPEATED = "@ILMPSTXZb";

  window.boundTerminal = function (term) {
    REPEATED.split("").forEach(function (final) {
      term.parser.registerCsiHandler({ final: final }, function (params) {
        return Number([].concat(params[0])[0]) > Math.max(term.rows, term.cols);
      });
    });
  };
})();
