// Draw the clips of a new audit, and go on with one.
"use strict";

document.getElementById("new-audit").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!named()) return;
  const fields = {
    id: newId(),
    run,
    reviewer: reviewer.value.trim(),
    population: document.getElementById("population").value,
    half_width: Number(document.getElementById("half").value) / 100,
    expected: Number(document.getElementById("expected").value) / 100,
  };
  try {
    await post("/audits", fields);
    location.reload();
  } catch (error) {
    tell(error.message, true);
  }
});

// What others judged is still to be judged by whoever goes on.
for (const link of document.querySelectorAll("[data-audit]")) {
  link.addEventListener("click", (event) => {
    if (!named()) return event.preventDefault();
    link.href = `/clips?${new URLSearchParams({ audit: link.dataset.audit, unseen_by: reviewer.value.trim() })}`;
  });
}
