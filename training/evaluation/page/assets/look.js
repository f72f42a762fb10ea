"use strict";
// Cases side by side: the keys belong to the case that was last looked at.

const articles = [...document.querySelectorAll(".case")];
const players = new Map(articles.map((article) => [article, new Player(article)]));
let current = articles[0];

function choose(article) {
  if (article === current && article.classList.contains("current")) return;
  if (article !== current) players.get(current)?.pause();
  current?.classList.remove("current");
  current = article;
  current.classList.add("current");
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) choose(entry.target);
  },
  { rootMargin: "-45% 0px -45% 0px" },
);
for (const article of articles) {
  seen.observe(article);
  article.addEventListener("click", () => choose(article));
}
document.addEventListener("keydown", (event) => {
  if (current) handleKey(players.get(current), event);
});
