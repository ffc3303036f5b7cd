// Shows what the server finds, deletes what is confirmed, and ends the session.
"use strict";
const { here, xsrf, hubHome } = document.body.dataset;
const LOOK_AGAIN_MS = 1000;
const TIME_MS = 15000;
const END_MS = 500;
const SOON_SECONDS = 300;
const by = (id) => document.getElementById(id);

async function ask(path, method = "GET", body = null) {
  const answer = await fetch(`${here}/${path}`, {
    method,
    headers: { "X-XSRFToken": xsrf, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.message || `The server answered ${answer.status}.`);
  return told;
}

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function files(count) {
  return count === 1 ? "1 file" : `${count.toLocaleString("en")} files`;
}

function say(text, kind) {
  by("message").textContent = text;
  by("message").className = `box ${kind}`;
  by("message").hidden = false;
}

function row(area, found, what) {
  const line = element("tr");
  line.append(element("td", found.path, { class: "path" }), element("td", found.size, { class: "number" }));
  if (what === "folder") line.append(element("td", files(found.files), { class: "number" }));
  const does = element("td", "", { class: "does" });
  does.append(
    element("button", "Copy command", { class: "copy", "data-command": found.command, "aria-label": `Copy the command that deletes ${found.path}` }),
    " ",
    element("button", "Delete", { class: "delete", "data-area": area, "data-path": found.path, "aria-label": `Delete ${found.path}`,
      "data-what": what === "folder" ? `The folder ${found.path} with ${files(found.files)} (${found.size})` : `The file ${found.path} (${found.size})` }),
  );
  line.append(does);
  return line;
}

function table(area, title, found, what) {
  if (!found.length) return [];
  const made = element("table");
  const head = element("tr");
  head.append(element("th", what === "folder" ? "Folder" : "File", { scope: "col" }), element("th", "Size", { scope: "col", class: "number" }));
  if (what === "folder") head.append(element("th", "Files", { scope: "col", class: "number" }));
  head.append(element("th", "Make room", { scope: "col", class: "number" }));
  made.append(element("caption", title, { hidden: "" }), element("thead"), element("tbody"));
  made.tHead.append(head);
  made.tBodies[0].append(...found.map((one) => row(area, one, what)));
  return [element("h3", title), made];
}

function show(report) {
  by("free").textContent = report.free;
  by("total").textContent = report.total;
  by("free-files").textContent = report.free_files === null ? "not counted" : report.free_files.toLocaleString("en");
  by("room").textContent = report.has_room
    ? "There is room on the file system. End this session and start again; if a quota of the site is exceeded, it is looked at then."
    : "There is not enough room yet.";
  by("room").className = report.has_room ? "good" : "bad";
  tell(report.ends_in_seconds);
  by("progress").textContent = report.finished ? "" : "Still looking at your files; the lists grow…";
  by("areas").replaceChildren(...report.areas.map((area) => {
    const box = element("section", "", { class: "box", "aria-label": area.title });
    box.append(
      element("h2", `${area.title}: ${area.used} in ${area.files.toLocaleString("en")} files and folders`),
      ...table(area.area, "Trash and caches: safe to delete", area.reclaimable, "folder"),
      ...table(area.area, "Biggest folders", area.folders, "folder"),
      ...table(area.area, "Largest files", area.largest, "file"),
    );
    if (area.unreadable) box.append(element("p", `${area.unreadable} could not be looked at.`, { class: "quiet" }));
    return box;
  }));
}

function tell(seconds) {
  const minutes = Math.ceil(seconds / 60);
  by("time-left").textContent = `in ${minutes} ${minutes === 1 ? "minute" : "minutes"}`;
  if (seconds < SOON_SECONDS && by("message").hidden) say("This session ends in less than five minutes. You can start another one.", "bad");
}

function ended() {
  by("ended").hidden = false;
  by("progress").textContent = "";
}

async function look() {
  try {
    const report = await ask("report");
    // Rebuilding the lists would take the focus away from who is using them.
    if (!by("areas").contains(document.activeElement) && !by("sure").open) show(report);
    else tell(report.ends_in_seconds);
    setTimeout(look, report.finished ? TIME_MS : LOOK_AGAIN_MS);
  } catch {
    ended();
  }
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.command);
    button.textContent = "Copied";
  } catch {
    say(button.dataset.command, "");
    getSelection().selectAllChildren(by("message"));
  }
}

async function remove(button) {
  by("sure-text").textContent = `${button.dataset.what} will be gone for good: there is no trash to take it back from.`;
  by("sure").returnValue = "no";
  by("sure").showModal();
  await new Promise((closed) => by("sure").addEventListener("close", closed, { once: true }));
  if (by("sure").returnValue !== "yes") return;
  button.disabled = true;
  try {
    show(await ask("remove", "POST", { area: button.dataset.area, path: button.dataset.path }));
    say(`${button.dataset.path} is deleted.`, "good");
  } catch (problem) {
    say(problem.message, "bad");
    button.disabled = false;
  }
  by("message").scrollIntoView({ block: "center" });
  look();
}

async function end() {
  by("end").disabled = true;
  by("end").textContent = "Ending…";
  try {
    await ask("end", "POST");
  } catch {
    // It had ended already.
  }
  // 503 says the proxy while the hub has not noticed yet.
  for (let tries = 0; tries < 40; tries++) {
    await new Promise((done) => setTimeout(done, END_MS));
    if (![200, 503].includes((await fetch(`${here}/report`)).status)) break;
  }
  location.assign(hubHome);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.matches(".copy")) copy(button);
  else if (button.matches(".delete")) remove(button);
  else if (button.id === "end") end();
});
look();
