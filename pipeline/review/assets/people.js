// Merge and split people by the faces that are ticked, on this page and on others.
"use strict";

const TICKED = `humo.ticked.${run}`;
const boxes = Array.from(document.querySelectorAll("[data-track]"));
const said = document.getElementById("ticked");

// Track -> what it showed and whose it was.
function ticked() {
  return JSON.parse(sessionStorage.getItem(TICKED) || "{}");
}

function tick(faces) {
  sessionStorage.setItem(TICKED, JSON.stringify(faces));
  const all = Object.values(faces);
  for (const box of boxes) box.checked = box.dataset.track in faces;
  const elsewhere = all.length - boxes.filter((box) => box.checked).length;
  said.textContent = all.length
    ? `${all.length} faces of ${new Set(all.map((one) => one.person)).size} people`
      + (elsewhere ? `, ${elsewhere} of them on other pages` : "")
    : "";
}

for (const box of boxes) {
  box.addEventListener("change", () => {
    const { track, seen, person } = box.dataset;
    const { [track]: _, ...others } = ticked();
    tick(box.checked ? { ...others, [track]: { seen, person } } : others);
  });
}

async function edit(kind) {
  const faces = Object.entries(ticked());
  const people = new Set(faces.map(([, one]) => one.person));
  if (!faces.length) return tell("Tick faces first.", true);
  if (kind === "merge" && people.size < 2) return tell("Tick a face of each of two people.", true);
  if (!named()) return;
  const fields = { kind, note: document.getElementById("note").value.trim() };
  fields.tracks = faces.map(([track]) => track);
  fields.seen = faces.map(([, one]) => one.seen);
  tick({});
  if (await say(fields)) location.reload();
}

document.getElementById("merge").addEventListener("click", () => edit("merge"));
document.getElementById("split").addEventListener("click", () => edit("split"));
document.getElementById("untick").addEventListener("click", () => tick({}));
tick(ticked());
