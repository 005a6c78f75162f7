/* A finding at the second that is shown, for whoever judges this session. The review's page has all of them. */
(function () {
  "use strict";

  var Replay = (window.Replay = window.Replay || {});
  var get = function (id) { return document.getElementById(id); };

  /* Gives what opens the form; `wrote` gets each finding that was written, as an entry of the timeline. */
  Replay.note = function (clock, facts, wrote) {
    var dialog = get("note-dialog"), form = get("note-form"), at = 0;

    function open() {
      clock.pause();
      at = clock.at;
      get("note-at").textContent = Replay.clock(at);
      get("note-problem").hidden = true;
      dialog.showModal();
      get("note-text").focus();
    }

    form.addEventListener("submit", function (event) {
      if (!event.submitter || event.submitter.value !== "yes") { return; }
      event.preventDefault();
      var said = { category: get("note-category").value, severity: get("note-severity").value, text: get("note-text").value, session: facts.session, at: Math.round(at * 10) / 10 };
      get("note-send").disabled = true;
      fetch(facts.note, {
        method: "POST", credentials: "same-origin", body: JSON.stringify(said),
        headers: { "Content-Type": "application/json", "X-CSRFToken": facts.csrf }
      }).then(function (answer) {
        if (!answer.ok) { return Replay.words(answer).then(function (words) { throw new Error(words); }); }
        return answer.json();
      }).then(function (made) {
        form.reset();
        dialog.close();
        wrote({ t: made.at, kind: "finding", text: made.text, by: made.author, severity: made.severity, category: made.category });
      }).catch(function (error) {
        get("note-problem").textContent = error.message;
        get("note-problem").hidden = false;
      }).then(function () { get("note-send").disabled = false; });
    });

    get("note").addEventListener("click", open);
    return open;
  };
})();
