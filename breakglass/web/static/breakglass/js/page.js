/* Small manners of every page: copy buttons, live regions that speak, a form that is sent once,
   a page that says when it has lost the server. */
(function () {
  "use strict";

  function say(text) {
    var region = document.getElementById("said");
    if (region && region.textContent !== text) {
      region.textContent = text;
    }
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-copy]");
    if (!button) { return; }
    var source = document.getElementById(button.dataset.copy);
    var label = button.querySelector("[data-label]") || button;
    var before = label.dataset.before || label.textContent;
    label.dataset.before = before;
    copy(source.textContent.trim()).then(function (well) {
      label.textContent = well ? "Copied" : "Marked: copy it yourself";
      say(label.textContent);
      if (!well) { window.getSelection().selectAllChildren(source); }
      setTimeout(function () { label.textContent = before; }, 2500);
    });
  });

  function copy(text) {
    if (navigator.clipboard && window.isSecureContext) {
      return navigator.clipboard.writeText(text).then(function () { return true; }, function () { return false; });
    }
    return Promise.resolve(false);
  }

  /* The live fragment says what changed: data-says of what came in, when it differs from what was there. */
  var last = {};

  document.addEventListener("htmx:load", function (event) {
    var element = event.detail.elt;
    var speaking = element.matches && element.matches("[data-says]") ? element : null;
    if (!speaking) { return; }
    if (last[speaking.id] !== undefined && last[speaking.id] !== speaking.dataset.says) {
      say(speaking.dataset.says);
      if (speaking.dataset.title) { document.title = speaking.dataset.title; }
    }
    last[speaking.id] = speaking.dataset.says;
  });

  /* The fragment tells of something that the page around it lacks, such as the replay: fetch the page. */
  document.addEventListener("htmx:load", function (event) {
    var wants = event.detail.elt.dataset && event.detail.elt.dataset.wants;
    if (wants && !document.getElementById(wants)) { window.location.reload(); }
  });

  /* What the reader has unfolded stays unfolded when its fragment is replaced. */
  var unfolded = [];

  document.addEventListener("htmx:beforeSwap", function (event) {
    unfolded = Array.from(event.detail.target.querySelectorAll("details[open][id]"), function (d) { return d.id; });
  });
  document.addEventListener("htmx:afterSwap", function () {
    unfolded.forEach(function (id) {
      var found = document.getElementById(id);
      if (found) { found.open = true; }
    });
  });

  /* What scrolls sideways can be scrolled by keys: only while it does, so that nobody tabs through what stands still. */
  function reachable() {
    document.querySelectorAll(".scroll, .results").forEach(function (element) {
      if (element.scrollWidth > element.clientWidth) {
        element.tabIndex = 0;
      } else {
        element.removeAttribute("tabindex");
      }
    });
  }

  document.addEventListener("htmx:load", reachable);
  window.addEventListener("resize", reachable);
  window.addEventListener("load", reachable);
  reachable();

  /* A click twice sends once. */
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.method !== "post") { return; }
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    form.setAttribute("aria-busy", "true");
    setTimeout(function () {
      delete form.dataset.sent;
      form.removeAttribute("aria-busy");
    }, 8000);
  });

  /* The line to the server. */
  function lost(is) {
    var bar = document.getElementById("lost");
    if (bar) { bar.hidden = !is; }
  }

  document.addEventListener("htmx:sendError", function () { lost(true); });
  document.addEventListener("htmx:timeout", function () { lost(true); });
  document.addEventListener("htmx:beforeSwap", function () { lost(false); });
  document.addEventListener("htmx:responseError", function (event) {
    lost(event.detail.xhr.status >= 500);
    /* The login is over, or the thing is gone: let the whole page say so. */
    if ([401, 403, 404].indexOf(event.detail.xhr.status) >= 0) {
      window.location.reload();
    }
  });

  /* First thing wrong gets the focus, so that a keyboard or a screen reader starts there. */
  var wrong = document.querySelector("[aria-invalid='true']");
  if (wrong) { wrong.focus(); }
})();
