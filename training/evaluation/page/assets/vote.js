"use strict";
// One pair after the other. What was voted on is asked of the server, so that a reload goes on.

const pairs = [...document.querySelectorAll(".pair")];
const players = new Map();
const progress = document.getElementById("progress");
const trouble = document.getElementById("trouble");
const voted = new Map();
const voter = remembered();
let place = 0;
let saving = false;

function remembered() {
  let name = localStorage.getItem("humo-voter");
  if (!name) {
    name = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem("humo-voter", name);
  }
  return name;
}

function show(number) {
  players.get(place)?.pause();
  place = number;
  pairs.forEach((pair, at) => { pair.hidden = at !== place; });
  document.getElementById("done").hidden = voted.size < pairs.length || place < pairs.length;
  progress.textContent = `${voted.size} of ${pairs.length} pairs voted on`;
  if (place >= pairs.length) return;
  if (!players.has(place)) players.set(place, new Player(pairs[place]));
  for (const button of pairs[place].querySelectorAll("[data-choice]")) {
    button.setAttribute("aria-pressed", String(voted.get(pairs[place].dataset.pair) === button.dataset.choice));
  }
}

async function vote(choice) {
  if (saving || place >= pairs.length) return;
  saving = true;
  const pair = pairs[place].dataset.pair;
  try {
    const answer = await fetch("/votes", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ pair, choice, voter }),
    });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    voted.set(pair, choice);
    trouble.hidden = true;
    const open = pairs.findIndex((other, at) => at > place && !voted.has(other.dataset.pair));
    const skipped = pairs.findIndex((other) => !voted.has(other.dataset.pair));
    show(open >= 0 ? open : skipped >= 0 ? skipped : pairs.length);
  } catch (error) {
    trouble.textContent = `The vote was not saved (${error.message}). Votes are saved where \`humo vote\` serves this page.`;
    trouble.hidden = false;
  } finally {
    saving = false;
  }
}

document.addEventListener("keydown", (event) => {
  const choice = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" }[event.key];
  if (choice && !event.repeat) {
    event.preventDefault();
    vote(choice);
  } else if (event.key === "Backspace" && place > 0) {
    event.preventDefault();
    show(place - 1);
  } else if (place < pairs.length) {
    handleKey(players.get(place), event);
  }
});
for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => vote(button.dataset.choice));
}

async function begin() {
  try {
    const answer = await fetch(`/votes?voter=${voter}`);
    if (answer.ok) for (const [pair, choice] of Object.entries(await answer.json())) voted.set(pair, choice);
  } catch {
    trouble.textContent = "Votes are saved where `humo vote` serves this page.";
    trouble.hidden = false;
  }
  const open = pairs.findIndex((pair) => !voted.has(pair.dataset.pair));
  show(open >= 0 ? open : pairs.length);
}
begin();
