"use strict";
// Plays the videos of one case in step: the one that is heard is the clock, the others are led to it.

const FRAME_S = 1 / 25;
// A video that is behind runs faster, up to double speed; one that is ahead runs slower, and stands from an eighth of a
// second on. So a difference is made up for before it shows. A jump takes longer than that: it is for what is far off.
const LEAD = 8;
const FASTEST = 2;
const FAR_S = 0.4;

class Player {
  constructor(article) {
    this.videos = [...article.querySelectorAll("video")];
    this.button = article.querySelector(".play");
    this.sounds = [...article.querySelectorAll(".sound")].filter((button) => !button.disabled);
    this.playing = false;
    this.button.addEventListener("click", () => this.toggle());
    this.sounds.forEach((button, number) => button.addEventListener("click", () => this.listen(number)));
    this.listen(0);
  }

  async toggle() {
    if (this.playing) this.pause();
    else await this.play();
  }

  async play() {
    if (!this.videos.length) return;
    this.playing = true;
    this.button.textContent = "Pause";
    const ended = this.videos.some((video) => video.ended || video.currentTime >= this.shortest() - FRAME_S / 2);
    await this.seek(ended ? 0 : this.videos[0].currentTime);
    if (!this.playing) return;
    await Promise.all(this.videos.map((video) => video.play()));
    requestAnimationFrame(() => this.lead());
  }

  pause() {
    this.playing = false;
    this.button.textContent = "Play";
    for (const video of this.videos) {
      video.pause();
      video.playbackRate = 1;
    }
  }

  async step(frames) {
    this.pause();
    const at = Math.round(this.videos[0].currentTime / FRAME_S) + frames;
    // The middle of a frame: its edge may show the one before.
    await this.seek(Math.min(Math.max(at, 0) * FRAME_S + FRAME_S / 4, this.shortest()));
  }

  listen(number) {
    if (number >= this.videos.length) return;
    this.videos.forEach((video, place) => { video.muted = place !== number; });
    this.sounds.forEach((button, place) => button.setAttribute("aria-pressed", String(place === number)));
  }

  shortest() {
    return Math.min(...this.videos.map((video) => video.duration || Infinity));
  }

  async seek(time) {
    await Promise.all(this.videos.map((video) => ready(video, time)));
  }

  lead() {
    if (!this.playing) return;
    const clock = this.videos.find((video) => !video.muted) || this.videos[0];
    if (this.videos.some((video) => video.ended)) {
      this.pause();
      return;
    }
    clock.playbackRate = 1;
    for (const video of this.videos) {
      if (video === clock || video.seeking) continue;
      const behind = clock.currentTime - video.currentTime;
      if (Math.abs(behind) > FAR_S) video.currentTime = clock.currentTime;
      // Nearer than this the eye sees the same frame, and a change of speed is not for nothing.
      const wanted = Math.abs(behind) < FRAME_S / 8 ? 1 : Math.max(0, Math.min(FASTEST, 1 + LEAD * behind));
      if (Math.abs(video.playbackRate - wanted) > 0.02) video.playbackRate = wanted;
    }
    requestAnimationFrame(() => this.lead());
  }
}

// Resolves when a video stands at a time and can go on from there.
function ready(video, time) {
  return new Promise((resolve) => {
    const check = () => {
      if (video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA && !video.seeking) {
        video.removeEventListener("canplay", check);
        video.removeEventListener("seeked", check);
        resolve();
      }
    };
    video.addEventListener("canplay", check);
    video.addEventListener("seeked", check);
    video.preload = "auto";
    video.currentTime = time;
    check();
  });
}

function handleKey(player, event) {
  if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.key === " ") player.toggle();
  else if (event.key === ",") player.step(-1);
  else if (event.key === ".") player.step(1);
  else if (/^[1-9]$/.test(event.key)) player.listen(Number(event.key) - 1);
  else return false;
  event.preventDefault();
  return true;
}
