"""The data card: what a manifest's samples are, where they come from, and how they were measured and chosen."""

import json
from typing import Any

from pipeline.config import CurateConfig
from pipeline.decide.licences import create_uses
from pipeline.decide.surplus import cap_rules
from pipeline.pack.sample import MEASURED
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from schemas.manifest import Manifest

HOURS = "sum(frames) / 25.0 / 3600 AS hours"


def write_card(files: Files, relations: Relations, config: CurateConfig, manifest: Manifest) -> None:
    """Write `shards/card.json`, and the same to be read as `shards/card.md`, unless they are there."""
    card = data_card(relations, config, manifest)
    # Most commands write no card, and need not wait for its templates.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipeline.pack"), undefined=StrictUndefined, autoescape=False, trim_blocks=False
    )
    text = environment.get_template("card.md").render(**card)
    for path, data in (("shards/card.json", json.dumps(card, indent=1)), ("shards/card.md", text)):
        if not files.exists(path) or files.read(path) != data.encode():
            files.replace(path, data.encode())


def data_card(relations: Relations, config: CurateConfig, manifest: Manifest) -> dict[str, Any]:
    """Counts of the kept clips from the tables; names of files and people are not in it."""
    create_uses(relations)
    relations.connection.execute(
        """CREATE OR REPLACE TEMP TABLE carded AS SELECT clips.id, source_id, tier, split, frames, width, height
           FROM decisions JOIN clips USING (id) WHERE outcome = 'keep'"""
    )
    lower, upper = config.decide.references.similarity(config.faces.descriptor)
    people = "SELECT count(DISTINCT identity) FROM identities WHERE clip_id IN (SELECT id FROM carded)"
    whole = f"SELECT count(*) AS samples, count(DISTINCT source_id) AS sources, ({people}) AS identities"
    (kept,) = _rows(relations, f"{whole}, coalesce(sum(frames), 0) / 25.0 / 3600 AS hours FROM carded")
    backends = " UNION ALL ".join(
        f"""SELECT '{table}' AS "table", backend, fingerprint, count(*) AS samples
            FROM "{table}" JOIN carded USING (id) GROUP BY ALL"""
        for table in ("clips", *MEASURED)
    )
    languages = " UNION ALL ".join(
        f"SELECT '{table}' AS of, language, count(*) AS samples FROM {table} JOIN carded USING (id) GROUP BY ALL"
        for table in ("speech", "captions")
    )
    grouped = f"count(*) AS samples, {HOURS} FROM carded"
    return {
        "manifest": {"version": manifest.version, "fingerprint": manifest.fingerprint},
        "kept": kept,
        "tiers": _rows(relations, f"SELECT split, tier, {grouped} GROUP BY ALL ORDER BY ALL"),
        "licences": _rows(
            relations,
            f"SELECT licence, consent, {grouped} JOIN uses ON uses.id = source_id GROUP BY ALL ORDER BY ALL",
        ),
        "languages": _rows(relations, f"{languages} ORDER BY ALL"),
        "sizes": _rows(
            relations, "SELECT width, height, frames, count(*) AS samples FROM carded GROUP BY ALL ORDER BY ALL"
        ),
        "backends": _rows(relations, f"{backends} ORDER BY ALL"),
        "rules": {
            "subject": list(config.decide.subject),
            "sync": list(config.decide.sync),
            "lower": lower,
            "upper": upper,
            "limit": config.decide.references.limit,
            "caps": cap_rules(config.decide.caps),
        },
    }


def _rows(relations: Relations, query: str) -> list[dict[str, Any]]:
    cursor = relations.connection.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
