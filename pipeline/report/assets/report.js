// Filters, search, and play on click. Without this file every clip is shown, and the players have their own controls.
"use strict";

const clips = Array.from(document.querySelectorAll("article.clip"));
const buttons = Array.from(document.querySelectorAll("#filters button"));
const rule = document.getElementById("rule");
const words = document.getElementById("words");
const opened = document.getElementById("open");
const shown = document.getElementById("shown");
let kind = "";

// What a search looks through: all but the measurements, whose labels are the same on every clip.
const texts = new Map(clips.map((clip) => {
  const parts = clip.querySelectorAll("h3, .key, .caption, .missed, .note");
  return [clip, Array.from(parts, (part) => part.textContent).join(" ").toLowerCase()];
}));

function matches(clip) {
  if (kind && clip.dataset.kind !== kind) return false;
  if (rule.value && !clip.dataset.rules.split(" ").includes(rule.value)) return false;
  return words.value.toLowerCase().split(/\s+/).every((word) => texts.get(clip).includes(word));
}

function apply() {
  let number = 0;
  for (const clip of clips) {
    clip.hidden = !matches(clip);
    if (!clip.hidden) number += 1;
    else clip.querySelector("video").pause();
  }
  shown.textContent = `${number} of ${clips.length} shown`;
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    kind = button.dataset.kind;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    apply();
  });
}
rule.addEventListener("change", apply);
words.addEventListener("input", apply);
opened.addEventListener("change", () => {
  for (const one of document.querySelectorAll("details.measurements")) one.open = opened.checked;
});

// A link to a clip that the filters hide shows all clips again.
function reveal() {
  const clip = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!clip || !clip.hidden) return;
  rule.value = "";
  words.value = "";
  buttons[0].click();
  clip.scrollIntoView();
}
window.addEventListener("hashchange", reveal);

for (const player of document.querySelectorAll("details.player")) {
  player.addEventListener("toggle", () => {
    const video = player.querySelector("video");
    if (!player.open) video.pause();
    else video.play().catch(() => { /* The browser asks for another click, or shows what it cannot play. */ });
  });
}

document.getElementById("filters").hidden = false;
apply();
