// A clip's file is silent and its sound lies beside it: the sound is played in step with the picture.
"use strict";

const FURTHEST_APART_S = 0.06;

for (const video of document.querySelectorAll("video[data-sound]")) {
  const sound = document.createElement("audio");
  sound.preload = video.preload;
  sound.src = video.dataset.sound;
  video.after(sound);

  const follow = () => {
    if (Math.abs(sound.currentTime - video.currentTime) > FURTHEST_APART_S) sound.currentTime = video.currentTime;
  };
  const start = () => {
    follow();
    sound.play().catch(() => { /* The browser asks for another click first, or cannot play it. */ });
  };
  video.addEventListener("playing", start);
  video.addEventListener("seeked", follow);
  video.addEventListener("timeupdate", () => { if (!video.paused) follow(); });
  for (const name of ["pause", "waiting", "ended"]) video.addEventListener(name, () => sound.pause());
  video.addEventListener("ratechange", () => { sound.playbackRate = video.playbackRate; });
  video.addEventListener("volumechange", () => { sound.volume = video.volume; sound.muted = video.muted; });
}
