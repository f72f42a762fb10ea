// Sliders: each move asks the server what the decisions would be, and shows its numbers.
"use strict";

const WAIT_MS = 150;
const sliders = document.getElementById("sliders");
const fields = Array.from(document.querySelectorAll(".slider"));
const state = document.getElementById("state");
const answer = document.getElementById("answer");
const brief = document.getElementById("brief");
const save = document.getElementById("save");
let timer = 0;
let asked = 0;

// Slider -> where it was moved to; nothing where a field holds no number.
function moved() {
  const values = {};
  for (const field of fields) {
    const value = field.querySelector("input[type=number]").valueAsNumber;
    if (!Number.isFinite(value)) return null;
    const differs = value !== Number(field.dataset.value);
    field.classList.toggle("moved", differs);
    if (differs) values[field.dataset.name] = value;
  }
  return values;
}

function element(tag, text, parent) {
  const made = document.createElement(tag);
  made.textContent = text;
  parent.append(made);
  return made;
}

function table(heads, rows) {
  const made = document.createElement("table");
  const head = element("tr", "", element("thead", "", made));
  for (const one of heads) element("th", one, head).scope = "col";
  const body = element("tbody", "", made);
  for (const row of rows) {
    const line = element("tr", "", body);
    row.forEach((cell, place) => { element(place ? "td" : "th", String(cell), line); });
  }
  return made;
}

function length(hours) {
  const seconds = hours * 3600;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return seconds < 3600 ? `${(seconds / 60).toFixed(1)} min` : `${hours.toFixed(2)} h`;
}

const WORDS = { sync: "kept, sync tier", subject: "kept, subject tier", reject: "rejected", unknown: "unknown" };

function show(found) {
  const parts = document.createElement("div");
  const { kept, kept_hours: hours, steps } = found.funnel;
  parts.append(table(["Kept", "Clips", "Length"], [
    ["sync tier", kept.sync, length(hours.sync)], ["subject tier alone", kept.subject, length(hours.subject)],
  ]));
  element("h3", found.changes.length ? "What changes" : "Nothing changes.", parts);
  for (const change of found.changes) {
    element("p", `${WORDS[change.before] || change.before} → ${WORDS[change.after]}: ${change.clips} clips, ${length(change.hours)}`, parts);
    const list = element("ul", "", parts);
    list.className = "examples";
    for (const key of change.examples.slice(0, 5)) {
      const link = element("a", key, element("li", "", list));
      link.href = `/clips/${key}`;
    }
  }
  element("h3", "Funnel", parts);
  parts.append(table(["Rule", "Passed", "Failed", "Unknown"], steps.map((step) => [
    `${step.tier}: ${step.rule}`, step.passed, step.failed, step.unknown,
  ])));
  answer.replaceChildren(parts);
  const changed = found.changes.reduce((sum, change) => sum + change.clips, 0);
  brief.textContent = `kept: ${kept.sync} sync, ${kept.subject} subject alone; ${changed} clips change`;
}

async function ask() {
  const values = moved();
  const number = ++asked;
  if (!values) {
    save.removeAttribute("href");
    state.textContent = "A field holds no number.";
    return;
  }
  const request = { values, state: sliders.dataset.state };
  save.href = `/what-if/decide.yaml?${new URLSearchParams({ moved: JSON.stringify(request) })}`;
  state.textContent = "Deciding…";
  answer.classList.add("busy");
  try {
    const found = await post("/what-if", request);
    if (number !== asked) return;
    show(found);
    state.textContent = `${Object.keys(values).length} thresholds moved. These are the numbers of humo decide --dry-run.`;
  } catch (error) {
    if (number === asked) state.textContent = error.message;
  } finally {
    if (number === asked) answer.classList.remove("busy");
  }
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT_MS);
}

for (const field of fields) {
  const range = field.querySelector("input[type=range]");
  const exact = field.querySelector("input[type=number]");
  const step = Number(range.dataset.step);
  range.addEventListener("input", () => {
    exact.value = String(Number((Math.round(range.value / step) * step).toPrecision(10)));
    later();
  });
  exact.addEventListener("input", () => { range.value = exact.value; later(); });
  field.querySelector("[data-reset]").addEventListener("click", () => {
    range.value = exact.value = field.dataset.value;
    later();
  });
}
sliders.addEventListener("submit", (event) => event.preventDefault());
ask();
