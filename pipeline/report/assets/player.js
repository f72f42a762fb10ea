// A clip's file is silent and its sound lies beside it: the sound is played in step with the picture.
"use strict";

// Less is not noticed. More is caught up with by playing a little faster or slower; much more by a jump.
const UNNOTICED_S = 0.03;
const JUMP_S = 0.3;
const FASTER = 0.1;
// A jump to the very end of a sound leaves nothing to play, and some browsers fail there.
const END_S = 0.15;

for (const video of document.querySelectorAll("video[data-sound]")) {
  const sound = document.createElement("audio");
  sound.preload = video.preload;
  sound.src = video.dataset.sound;
  video.after(sound);

  const jump = () => {
    const last = Number.isFinite(sound.duration) ? sound.duration - END_S : Infinity;
    if (video.currentTime < last) sound.currentTime = video.currentTime;
  };
  const follow = () => {
    const late = video.currentTime - sound.currentTime;
    if (Math.abs(late) > JUMP_S) jump();
    const change = Math.abs(late) < UNNOTICED_S ? 0 : FASTER * Math.sign(late);
    sound.playbackRate = video.playbackRate * (1 + change);
    if (!video.paused) requestAnimationFrame(follow);
  };
  video.addEventListener("playing", () => {
    if (sound.error) sound.load();
    if (Math.abs(video.currentTime - sound.currentTime) > UNNOTICED_S) jump();
    sound.play().then(() => follow()).catch(() => { /* The browser asks for another click first, or cannot play it. */ });
  });
  video.addEventListener("seeked", jump);
  for (const name of ["pause", "waiting"]) video.addEventListener(name, () => { if (!video.ended) sound.pause(); });
  video.addEventListener("volumechange", () => { sound.volume = video.volume; sound.muted = video.muted; });
}
