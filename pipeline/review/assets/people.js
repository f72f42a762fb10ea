// Merge and split people by the faces that are ticked.
"use strict";

const boxes = Array.from(document.querySelectorAll("[data-track]"));
const said = document.getElementById("ticked");

function ticked() {
  return boxes.filter((box) => box.checked);
}

for (const box of boxes) {
  box.addEventListener("change", () => {
    const people = new Set(ticked().map((one) => one.dataset.person));
    said.textContent = `${ticked().length} faces of ${people.size} people`;
  });
}

async function edit(kind) {
  const faces = ticked();
  const people = new Set(faces.map((one) => one.dataset.person));
  if (!faces.length) return tell("Tick faces first.", true);
  if (kind === "merge" && people.size < 2) return tell("Tick a face of each of two people.", true);
  const fields = { kind, note: document.getElementById("note").value.trim() };
  fields.tracks = faces.map((one) => one.dataset.track);
  fields.seen = faces.map((one) => one.dataset.seen);
  if (await say(fields)) location.reload();
}

document.getElementById("merge").addEventListener("click", () => edit("merge"));
document.getElementById("split").addEventListener("click", () => edit("split"));
