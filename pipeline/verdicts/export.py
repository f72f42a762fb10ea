"""Verdicts as CSV."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

COLUMNS = (
    "id", "at", "reviewer", "kind", "clip_id", "media_sha256", "note", "caption", "reference", "undoes", "audit",
    "tracks",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, after any blanks; the last four are the full-width signs, which some take for these."""


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows of `verdicts` by time, with a header. A text that a spreadsheet would take for a formula begins with '."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda row: (row["at_us"], row["id"])):
        at = datetime.fromtimestamp(row["at_us"] / 1e6, UTC).isoformat(timespec="milliseconds")
        values = {**row, "at": at, "tracks": " ".join(row["tracks"] or [])}
        writer.writerow([_plain(values[name]) for name in COLUMNS])
    return sink.getvalue()


def _plain(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(("\t", "\r")) or text.lstrip().startswith(FORMULA) else text
