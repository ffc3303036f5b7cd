// What the hub says of a server that starts, as it says it; and the way not to start it after all.
"use strict";

(function () {
  const AGAIN_MS = 3000;
  const given = document.currentScript.dataset;
  const byId = (name) => document.getElementById(`dachub-${name}`);
  const address = new URL(given.progress, window.location.href);
  const server = address.pathname.replace(/\/progress$/, "");
  const events = new EventSource(address);
  const giveUp = byId("give-up");
  let said = "";
  let step = "";

  function wrong(text) {
    byId("wrong").textContent = text;
    byId("wrong").hidden = false;
  }

  function show(event) {
    if (event.progress !== undefined) {
      byId("progress").setAttribute("aria-valuenow", event.progress);
      byId("progress").firstElementChild.style.width = `${event.progress}%`;
    }
    if (event.message && event.message !== said) {
      said = event.message;
      byId("said").textContent = said;
      // What goes on is one line, however long it takes.
      const goesOn = event.step !== undefined && event.step === step;
      const item = goesOn ? byId("log").lastElementChild : document.createElement("li");
      item.textContent = said;
      byId("log").append(item);
      step = event.step;
    }
  }

  // The hub was away. Once it answers, its page leads to the server or says why there is none.
  async function comeBack() {
    const answer = await fetch(window.location.href).catch(() => null);
    if (answer && answer.headers.has("X-JupyterHub-Version")) window.location.reload();
    else setTimeout(comeBack, AGAIN_MS);
  }

  events.onmessage = function (message) {
    const event = JSON.parse(message.data);
    if (event.ready || event.failed) {
      events.close();
      window.location.reload(); // to the server, or to the page that says why there is none
    } else {
      show(event);
    }
  };

  events.onerror = function () {
    if (events.readyState === EventSource.CLOSED) setTimeout(comeBack, AGAIN_MS);
  };

  giveUp.hidden = false;
  giveUp.onclick = async function () {
    giveUp.disabled = true;
    events.close();
    try {
      const headers = { "X-XSRFToken": address.searchParams.get("_xsrf") };
      const answer = await fetch(server, { method: "DELETE", headers });
      if (!answer.ok) throw new Error(`the hub answered ${answer.status}`);
      window.location.assign(given.home);
    } catch (error) {
      wrong(`The start could not be ended (${error.message}). Load this page again.`);
    }
  };
})();
