/* The field "Which machine is it?": a combobox. Down and up choose, Enter opens, Escape closes; typing fetches anew.
   What is chosen is said by aria-activedescendant: the focus stays in the field. */
(function () {
  "use strict";

  var field = document.getElementById("find");
  var place = document.getElementById("found");
  if (!field || !place) { return; }
  var at = -1;

  function options() { return Array.from(place.querySelectorAll("[role=option]")); }

  function choose(index) {
    var all = options();
    at = all.length ? (index + all.length) % all.length : -1;
    all.forEach(function (option, number) {
      option.setAttribute("aria-selected", number === at ? "true" : "false");
      if (number === at) { option.scrollIntoView({ block: "nearest" }); }
    });
    if (at < 0) { field.removeAttribute("aria-activedescendant"); } else { field.setAttribute("aria-activedescendant", all[at].id); }
  }

  function open(is) {
    place.hidden = !is;
    field.setAttribute("aria-expanded", is && options().length ? "true" : "false");
    if (!is) { choose(-1); }
  }

  field.addEventListener("keydown", function (event) {
    var all = options();
    if (event.key === "Escape" && !place.hidden) {
      event.preventDefault();
      open(false);
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && all.length) {
      event.preventDefault();
      if (place.hidden) { open(true); }
      choose(at < 0 ? (event.key === "ArrowDown" ? 0 : -1) : at + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && !place.hidden && all.length && (at >= 0 || all.length === 1)) {
      event.preventDefault();
      window.location.assign(all[Math.max(at, 0)].dataset.url);
    }
  });

  place.addEventListener("click", function (event) {
    var option = event.target.closest("[role=option]");
    if (option) { window.location.assign(option.dataset.url); }
  });

  field.addEventListener("focus", function () { if (options().length) { open(true); } });
  document.addEventListener("click", function (event) {
    if (!place.contains(event.target) && event.target !== field) { open(false); }
  });
  document.addEventListener("htmx:afterSwap", function (event) {
    if (event.detail.target !== place) { return; }
    at = -1;
    field.removeAttribute("aria-activedescendant");
    open(place.textContent.trim() !== "");
    var count = options().length;
    var said = document.getElementById("said");
    if (said && field.value.trim()) { said.textContent = count === 1 ? "1 way to ask" : count + " ways to ask"; }
  });
})();
