/* The chat beside a session: a sent message empties its field, Enter sends, the last message is in sight. */
(function () {
  "use strict";

  function end() {
    var list = document.querySelector("#chat .chat");
    if (list) { list.scrollTop = list.scrollHeight; }
  }

  document.addEventListener("chat-sent", function () {
    var form = document.getElementById("chat-form");
    if (form) { form.reset(); }
    end();
  });
  document.addEventListener("htmx:load", function (event) {
    if (event.detail.elt.id === "chat") { end(); }
  });
  document.addEventListener("keydown", function (event) {
    var text = event.target;
    if (text.id !== "chat-text" || event.key !== "Enter" || event.shiftKey || event.isComposing) { return; }
    event.preventDefault();
    if (text.value.trim()) { text.form.requestSubmit(); }
  });
})();
