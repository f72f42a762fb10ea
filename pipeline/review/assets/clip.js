// A clip's page: face boxes over the picture, the place in the sound, words in step, verdicts by key.
"use strict";

const clip = document.getElementById("clip");
const video = clip.querySelector("video");
const canvas = clip.querySelector("canvas");
const shown = document.getElementById("boxes");
const now = document.getElementById("now");
const words = Array.from(clip.querySelectorAll(".words span"));
const FPS = 25;
let frames = [];

if (clip.dataset.boxes) {
  fetch(clip.dataset.boxes).then((answer) => answer.json()).then((found) => { frames = found.frames || []; draw(); });
}

function draw() {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const length = Number(clip.dataset.frames) / FPS;
  if (now) for (const end of ["x1", "x2"]) now.setAttribute(end, String(1000 * video.currentTime / length));
  for (const word of words) {
    word.classList.toggle("now", video.currentTime >= word.dataset.start && video.currentTime < word.dataset.end);
  }
  if (!shown.checked) return;
  const frame = frames[Math.min(frames.length - 1, Math.floor(video.currentTime * FPS + 0.01))] || [];
  const line = Math.max(2, height / 160);
  for (const face of frame) {
    const [x0, y0, x1, y1] = face.box;
    const speaks = String(face.track) === clip.dataset.speaker;
    // Dark beneath light, so that it is seen on any picture; dashes where the box was interpolated.
    for (const [colour, wide] of [["#000", line * 2], [speaks ? "#7fd6a4" : "#fff", line]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.setLineDash(face.interpolated ? [line * 4, line * 3] : []);
      context.strokeRect(x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height);
    }
    context.font = `${Math.max(12, height / 24)}px sans-serif`;
    context.fillStyle = speaks ? "#7fd6a4" : "#fff";
    context.strokeStyle = "#000";
    context.setLineDash([]);
    context.lineWidth = line;
    const name = `face ${face.track}${speaks ? ", speaks" : ""}`;
    context.strokeText(name, x0 * width, Math.max(14, y0 * height - 4));
    context.fillText(name, x0 * width, Math.max(14, y0 * height - 4));
  }
}

function loop() {
  draw();
  if (!video.paused && !video.ended) requestAnimationFrame(loop);
}

for (const name of ["play", "playing"]) video.addEventListener(name, loop);
for (const name of ["seeked", "loadeddata", "pause", "ended"]) video.addEventListener(name, draw);
shown.addEventListener("change", draw);
clip.querySelector(".wave svg")?.addEventListener("click", (event) => {
  const box = event.currentTarget.getBoundingClientRect();
  video.currentTime = (event.clientX - box.left) / box.width * Number(clip.dataset.frames) / FPS;
});

const audit = new URLSearchParams(location.search).get("audit");

async function judge(kind, more = {}) {
  const note = document.getElementById("note").value.trim();
  const caption = document.getElementById("new-caption").value.trim();
  const before = document.getElementById("caption").textContent.trim();
  const fields = { kind, note, clip_id: clip.dataset.clip, media_sha256: clip.dataset.media, ...more };
  if (kind === "fix_caption" && caption && caption !== before) fields.caption = caption;
  if (audit) fields.audit = audit;
  if (await say(fields)) location.reload();
}

for (const button of clip.querySelectorAll("[data-kind]")) button.addEventListener("click", () => judge(button.dataset.kind));
for (const button of clip.querySelectorAll("[data-bad]")) {
  button.addEventListener("click", () => judge("bad_reference", { reference: button.dataset.bad }));
}
document.getElementById("undo").addEventListener("click", undoLast);

const KEYS = { a: "accept", r: "reject", c: "fix_caption", s: "bad_sync" };
document.addEventListener("keydown", (event) => {
  // A key that is held says its word once.
  if (typing(event) || event.repeat) return;
  const key = event.key.toLowerCase();
  if (KEYS[key]) {
    // The key is no letter of the name that may be asked for now.
    event.preventDefault();
    judge(KEYS[key]);
  } else if (key === "u") undoLast();
  // The player has keys of its own, and so has whatever can be pressed.
  else if (key === "arrowleft" && event.target !== video) document.getElementById("before")?.click();
  else if (key === "arrowright" && event.target !== video) document.getElementById("after")?.click();
  else if (key === " " && ["BODY", "MAIN", "H1"].includes(event.target.tagName)) {
    if (video.paused) video.play(); else video.pause();
    event.preventDefault();
  }
});
