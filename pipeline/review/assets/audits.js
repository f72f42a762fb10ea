// Draw the clips of a new audit.
"use strict";

document.getElementById("new-audit").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!named()) return;
  const fields = {
    id: newId(),
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
