// On every page: the reviewer's name, verdicts that are sent until the server has them, undo, the gallery's keys.
"use strict";

const reviewer = document.getElementById("reviewer");
const told = document.getElementById("told");
const WAITING = "humo.waiting";
const GIVEN = "humo.given";

reviewer.value = localStorage.getItem("humo.reviewer") || "";
reviewer.addEventListener("input", () => localStorage.setItem("humo.reviewer", reviewer.value.trim()));

function tell(text, wrong = false) {
  told.textContent = text;
  told.classList.toggle("wrong", wrong);
}

function remembered(name) {
  try { return JSON.parse(localStorage.getItem(name)) || []; } catch { return []; }
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), keepalive: true,
  });
  if (answer.status >= 500) throw new TypeError("the server failed");
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

// A verdict waits in the browser until the server has written it down. Sent again, it is there once: it has its own id.
async function send(verdict) {
  localStorage.setItem(WAITING, JSON.stringify([...remembered(WAITING), verdict]));
  return flush();
}

let flushing = null;

function flush() {
  flushing = (flushing || Promise.resolve()).then(flushAll);
  return flushing;
}

async function flushAll() {
  for (let waiting = remembered(WAITING); waiting.length; waiting = remembered(WAITING)) {
    const [first] = waiting;
    try {
      await post("/verdicts", first);
    } catch (error) {
      if (error instanceof TypeError) {
        tell(`The server does not answer; ${waiting.length} verdicts wait here and are sent as soon as it does.`, true);
        return false;
      }
      drop(first);
      tell(error.message, true);
      return false;
    }
    drop(first);
    const given = remembered(GIVEN).filter((one) => one.id !== first.undoes);
    if (first.kind !== "undo") given.push({ id: first.id, reviewer: first.reviewer, kind: first.kind });
    localStorage.setItem(GIVEN, JSON.stringify(given.slice(-200)));
  }
  return true;
}

function drop(verdict) {
  localStorage.setItem(WAITING, JSON.stringify(remembered(WAITING).filter((one) => one.id !== verdict.id)));
}

// Ask for a name before the first verdict; true where there is one.
function named() {
  if (reviewer.value.trim()) return true;
  tell("Type your name first, at the top: a verdict says who gave it.", true);
  reviewer.focus();
  return false;
}

async function say(fields) {
  if (!named()) return false;
  return send({ id: newId(), reviewer: reviewer.value.trim(), ...fields });
}

async function undo(id, by) {
  if (await send({ id: newId(), kind: "undo", reviewer: by, undoes: id })) location.reload();
}

async function undoLast() {
  const mine = remembered(GIVEN).filter((one) => one.reviewer === reviewer.value.trim());
  const last = mine.pop();
  if (!last) return tell("There is nothing of yours to take back.");
  await undo(last.id, last.reviewer);
}

for (const button of document.querySelectorAll("[data-undoes]")) {
  button.addEventListener("click", () => undo(button.dataset.undoes, button.dataset.reviewer));
}

function typing(event) {
  const tag = event.target.tagName;
  return event.ctrlKey || event.metaKey || event.altKey || tag === "TEXTAREA" || tag === "SELECT"
    || (tag === "INPUT" && event.target.type !== "checkbox");
}

document.addEventListener("keydown", (event) => {
  const tiles = Array.from(document.querySelectorAll("[data-clip]:is(a)"));
  if (typing(event) || !tiles.length || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const place = tiles.indexOf(document.activeElement);
  const next = event.key === "ArrowRight" ? place + 1 : place - 1;
  if (next >= tiles.length) document.getElementById("next")?.focus();
  else tiles[Math.max(0, next)].focus();
  event.preventDefault();
});

if (remembered(WAITING).length) flush();
setInterval(() => { if (remembered(WAITING).length) flush(); }, 3000);
