/* Before the player's own script: notes the memory of its emulator, which is a WebAssembly module. A copy of that memory
   is the terminal as it stood, to the last mode, and can be put back (replay_frames.js). Without it all works, slower. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var own = WebAssembly.instantiate;

  WebAssembly.instantiate = function () {
    return own.apply(WebAssembly, arguments).then(function (made) {
      WebAssembly.instantiate = own;
      Replay.memory = (made.instance || made).exports.memory;
      return made;
    });
  };
})();
