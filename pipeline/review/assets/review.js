// On every page: the reviewer's name, verdicts that are sent until the server has them, undo, the gallery's keys.
"use strict";

const reviewer = document.getElementById("reviewer");
const told = document.getElementById("told");
// Of this run alone: another one may be under review at the same address tomorrow.
const run = document.documentElement.dataset.run;
const WAITING = `humo.waiting.${run}`;
const GIVEN = `humo.given.${run}`;
const REFUSED = `humo.refused.${run}`;
const TOLD = "humo.told";
// What will never be taken in as it is. Everything else may be, later or from another tab.
const NO_VERDICT = [400, 422];
// A larger request does not outlive its page; a browser refuses to try.
const OUTLIVES_CHARACTERS = 16000;

reviewer.value = localStorage.getItem("humo.reviewer") || "";
reviewer.addEventListener("input", () => {
  localStorage.setItem("humo.reviewer", reviewer.value.trim());
  offerUndo();
});

function tell(text, wrong = false, link = "") {
  told.textContent = text;
  told.classList.toggle("wrong", wrong);
  if (!link) return;
  const made = document.createElement("a");
  made.href = link;
  made.textContent = "see it";
  told.append(" ", made);
}

function remembered(name) {
  try { return JSON.parse(localStorage.getItem(name)) || []; } catch { return []; }
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function remember(name, list) {
  localStorage.setItem(name, JSON.stringify(list));
}

async function post(path, fields) {
  const body = JSON.stringify(fields);
  const keepalive = body.length < OUTLIVES_CHARACTERS;
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body, keepalive });
  if (answer.ok) return answer.json();
  throw Object.assign(new Error(await answer.text()), { status: answer.status });
}

// A verdict waits in the browser until the server has written it down. Sent again, it is there once: it has its own id.
// True where it is written down now.
async function send(verdict) {
  remember(WAITING, [...remembered(WAITING), verdict]);
  if (verdict.kind !== "undo") {
    const { id, kind, reviewer: by, clip_id: clip } = verdict;
    remember(GIVEN, [...remembered(GIVEN), { id, kind, reviewer: by, clip }].slice(-200));
  }
  await flush();
  return ![...remembered(WAITING), ...remembered(REFUSED)].some((one) => one.id === verdict.id);
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
      remember(WAITING, remembered(WAITING).filter((one) => one.id !== first.id));
    } catch (error) {
      if (!NO_VERDICT.includes(error.status)) return tell(reason(error, waiting.length), true);
      refuse(first, error.message);
    }
  }
}

function reason(error, number) {
  const wait = number === 1 ? "1 verdict waits here and is" : `${number} verdicts wait here and are`;
  if (error.status === 401 || error.status === 403) {
    return `The server was started anew: open the new address that it printed. ${wait} sent as soon as you did.`;
  }
  if (error.status === 409) return `${error.message}.`;
  return `The server does not answer; ${wait} sent as soon as it does.`;
}

// Out of the way of those behind it, and into a list that stays until somebody has read it.
function refuse(verdict, why) {
  const gone = (one) => one.id === verdict.id || one.undoes === verdict.id;
  remember(WAITING, remembered(WAITING).filter((one) => !gone(one)));
  remember(GIVEN, remembered(GIVEN).filter((one) => !gone(one)));
  if (verdict.kind !== "undo") remember(REFUSED, [...remembered(REFUSED), { ...verdict, why }]);
  tell(why, true);
  listRefused();
}

function listRefused() {
  const list = remembered(REFUSED);
  const place = document.getElementById("refused");
  place.hidden = !list.length;
  place.querySelector("ul").replaceChildren(...list.map((one) => {
    const line = document.createElement("li");
    const said = [one.kind.replace("_", " "), one.note, one.caption].filter(Boolean).join(": ");
    line.append(Object.assign(document.createElement("bdi"), { textContent: said }), ` (${one.why}) `);
    if (one.clip_id) {
      line.append(Object.assign(document.createElement("a"), { href: `/clips/${one.clip_id}`, textContent: "the clip" }), " ");
    }
    const forget = Object.assign(document.createElement("button"), { type: "button", textContent: "forget it" });
    forget.addEventListener("click", () => {
      remember(REFUSED, remembered(REFUSED).filter((other) => other.id !== one.id));
      listRefused();
    });
    line.append(forget);
    return line;
  }));
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
  return send({ id: newId(), run, reviewer: reviewer.value.trim(), ...fields });
}

async function undo({ id, kind, clip }) {
  if (!named()) return;
  // No more the last one from now on, whether or not the server answers.
  remember(GIVEN, remembered(GIVEN).filter((one) => one.id !== id));
  if (!await say({ kind: "undo", undoes: id })) return;
  sessionStorage.setItem(TOLD, JSON.stringify([`Took back: ${kind.replace("_", " ")}.`, clip || ""]));
  location.reload();
}

function undoLast() {
  const last = remembered(GIVEN).filter((one) => one.reviewer === reviewer.value.trim()).pop();
  if (!last) return tell("There is nothing of yours to take back.");
  return undo(last);
}

// Everybody takes back what is their own; who disagrees gives a verdict.
const undoes = Array.from(document.querySelectorAll("[data-undoes]"));

function offerUndo() {
  for (const button of undoes) button.hidden = button.dataset.reviewer !== reviewer.value.trim();
}

for (const button of undoes) {
  const { undoes: id, of: kind, clip } = button.dataset;
  button.addEventListener("click", () => undo({ id, kind, clip }));
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

// What was said just before the page was loaded again.
function tellBefore() {
  const [text, clip] = JSON.parse(sessionStorage.getItem(TOLD) || "[]");
  sessionStorage.removeItem(TOLD);
  if (text) tell(text, false, clip && !location.pathname.endsWith(clip) ? `/clips/${clip}` : "");
}

offerUndo();
listRefused();
tellBefore();
if (remembered(WAITING).length) flush();
setInterval(() => { if (remembered(WAITING).length) flush(); }, 3000);
