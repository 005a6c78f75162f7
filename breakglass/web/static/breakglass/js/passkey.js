/* Passkeys. A form with a part [data-step-up] that is sent without a typed code asks for a passkey first: for the act of
   the button that was pressed, on the object that the part names. A form [data-passkey-new] makes one. */
(function () {
  "use strict";

  var able = Boolean(window.PublicKeyCredential && navigator.credentials);

  function bytes(text) {
    var plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, function (one) { return one.charCodeAt(0); });
  }

  function text(buffer) {
    var plain = "";
    new Uint8Array(buffer).forEach(function (one) { plain += String.fromCharCode(one); });
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }

  function named(list) {
    return (list || []).map(function (one) { return Object.assign({}, one, { id: bytes(one.id) }); });
  }

  function said(credential) {
    var response = credential.response;
    var plain = { clientDataJSON: text(response.clientDataJSON) };
    ["authenticatorData", "signature", "userHandle", "attestationObject"].forEach(function (name) {
      if (name === "authenticatorData" && response.attestationObject) { return; }
      if (response[name]) { plain[name] = text(response[name]); }
    });
    if (response.getTransports) { plain.transports = response.getTransports(); }
    return JSON.stringify({
      id: credential.id, rawId: text(credential.rawId), type: credential.type, response: plain,
      clientExtensionResults: credential.getClientExtensionResults()
    });
  }

  function why(error) {
    if (error && error.told) { return error.told; }
    if (error && error.name === "InvalidStateError") { return "This passkey is registered already."; }
    if (error && error.name === "SecurityError") { return "This address isn't the one that passkeys are for."; }
    return "No passkey was given. Press the button again to try once more.";
  }

  function tell(part, words) {
    var line = part.querySelector("[data-step-up-said]");
    if (line) { line.textContent = words; line.hidden = !words; }
    var other = part.querySelector("details");
    if (other && words) { other.open = true; }
  }

  function ask(form, part, button) {
    var field = part.dataset.subjectField ? form.elements[part.dataset.subjectField] : null;
    var body = new URLSearchParams({
      action: (button && button.dataset.action) || part.dataset.action,
      subject: field ? field.value : part.dataset.subject
    });
    return fetch(part.dataset.stepUp, {
      method: "POST", body: body, credentials: "same-origin",
      headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value, "Accept": "application/json" }
    }).then(function (answer) {
      return answer.json().then(function (found) {
        if (!answer.ok) { throw { told: found.message }; }
        found.challenge = bytes(found.challenge);
        found.allowCredentials = named(found.allowCredentials);
        return navigator.credentials.get({ publicKey: found });
      });
    }).then(said);
  }

  function make(form) {
    var found = JSON.parse(form.dataset.passkeyNew);
    found.challenge = bytes(found.challenge);
    found.user.id = bytes(found.user.id);
    found.excludeCredentials = named(found.excludeCredentials);
    return navigator.credentials.create({ publicKey: found }).then(said);
  }

  /* Before page.js, which lets a form go once: what is sent twice here goes once to the server. */
  document.addEventListener("submit", function (event) {
    var form = event.target;
    var isNew = form.matches("[data-passkey-new]");
    var part = isNew ? form : form.querySelector("[data-step-up]");
    if (!part || !able) { return; }
    var hidden = part.querySelector("[data-assertion]");
    var code = part.querySelector("input.code");
    if (hidden.value || (code && code.value.trim())) { return; }
    event.preventDefault();
    event.stopImmediatePropagation();
    if (form.dataset.asking) { return; }
    form.dataset.asking = "1";
    form.setAttribute("aria-busy", "true");
    tell(part, "");
    var button = event.submitter;
    (isNew ? make(form) : ask(form, part, button)).then(function (answer) {
      hidden.value = answer;
      calm(form);
      form.requestSubmit(button || undefined);
    }, function (error) {
      calm(form);
      tell(part, why(error));
    });
  }, true);

  function calm(form) {
    delete form.dataset.asking;
    form.removeAttribute("aria-busy");
  }

  /* Back from the page before: an answer counts once. */
  window.addEventListener("pageshow", function () {
    document.querySelectorAll("[data-assertion]").forEach(function (field) { field.value = ""; });
    document.querySelectorAll("[data-passkey-only]").forEach(function (one) { one.hidden = !able; });
  });
})();
