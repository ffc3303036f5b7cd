// What the hub says of a server that starts, as it says it; and the way not to start it after all.
"use strict";

(function () {
  const given = document.currentScript.dataset;
  const byId = (name) => document.getElementById(`dachub-${name}`);
  const address = new URL(given.progress, window.location.href);
  const server = address.pathname.replace(/\/progress$/, "");
  const events = new EventSource(address);
  const giveUp = byId("give-up");
  let said = "";

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
      const item = document.createElement("li");
      item.textContent = said;
      byId("log").append(item);
    }
  }

  events.onmessage = function (message) {
    const event = JSON.parse(message.data);
    if (event.failed) {
      events.close();
      giveUp.hidden = true;
      byId("said").textContent = "Your server did not start.";
      byId("progress").hidden = true;
      wrong(event.message);
    } else if (event.ready) {
      events.close();
      window.location.reload();
    } else {
      show(event);
    }
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
