"""`humo decide` and `humo status` on synthetic runs: `python tests/benchmarks/tables_scale.py --clips 10000 1000000`.

Each run is written as the engine writes it: a commit of 4,096 clips at a time, bundles merged as they grow, set tables
in one part; 20 clips a source, a face track a clip, 16 reference candidates a track, one clip in ten a copy of another,
one in 50 without a measurement. Printed are the time of the commands as a user gives them, per row, and the peak memory
of their process.
"""

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import CurateConfig
from pipeline.engine.commits import COMMIT_CLIPS, with_sources
from pipeline.engine.fingerprint import fingerprints
from pipeline.engine.pending import ledger
from pipeline.engine.plan import terms_of
from pipeline.engine.run_file import write_run
from pipeline.engine.set_parts import set_parts
from pipeline.engine.sets import run_set
from pipeline.flow import DECISIONS
from pipeline.store.bundles import write_bundle
from pipeline.store.files import Files
from pipeline.store.parts import GROUP_ROWS
from pipeline.store.relations import Relations
from pipeline.store.snapshots import Snapshot, commit
from schemas.command_line import COMMAND
from schemas.tables import TABLES

PER_SOURCE = 20
CANDIDATES = 16
ROW = "'ok' AS status, 'test/1' AS backend, 'f' AS fingerprint, 0.1 AS seconds, 1 AS attempt"

# i: number of the clip. Ids of sources are spread over all hexadecimal numbers, as hashes are: {{step}} apart.
CLIP = f"""SELECT i, printf('%016x', (i // {PER_SOURCE}) * {{step}}::UBIGINT) AS source_id, i % {PER_SOURCE} AS n,
           source_id || '_' || n * 4000000 || '_' || n * 4000000 + 3880000 AS id, hash(i) / 18446744073709551616 AS u,
           hash(i + 1000000000) / 18446744073709551616 AS v FROM range({{first}}, {{last}}) AS r(i)"""
ITEMS = {
    "clips": """SELECT id, source_id, source_id || '_0_80000000' AS shot_id, n * 4000000 AS start_us,
                n * 4000000 + 3880000 AS end_us, 97 AS frames, 832 AS width, 480 AS height, sha256(id) AS media_sha256,
                sha256(id) AS audio_sha256""",
    "quality": """SELECT id, u AS sharpness, CASE WHEN i % 50 > 0 THEN v END AS luma, v AS contrast, u * v AS motion,
                  md5(id)::BLOB AS signature, md5(id) AS thumbnail_sha256""",
    "faces": "SELECT id, (1 + i % 4)::INTEGER AS subjects, u AS largest, md5(id) AS boxes_sha256",
    "tracks": """SELECT id || '_t0' AS id, id AS clip_id, source_id, source_id || '_0_80000000' AS shot_id, 0 AS track,
                 0 AS first_frame, 96 AS last_frame, u AS size, v AS sharpness, v AS luma, 40 * u AS yaw_deg,
                 list_transform(range(128), lambda x: (u * x + v)::FLOAT) AS embedding, md5(id) AS reference_sha256""",
    "speech": "SELECT id, v AS ratio, -20 - 10 * u AS loudness_lufs, 20 * v AS snr_db",
    "sync": """SELECT id, 0 AS speaker_track, (i % 9 - 4)::INTEGER AS offset_frames, 5 * u AS confidence,
               0.01 * v AS p_value, false AS voice_over""",
    "sync_tracks": """SELECT id || '_t0' AS id, id AS clip_id, 0 AS track, (i % 9 - 4)::INTEGER AS offset_frames,
                      5 * u AS confidence, 0.01 * v AS p_value""",
    "captions": """SELECT id, 'a person who speaks in a room with a lamp, number ' || i AS text,
                   'a person' AS text_short, (6 + i % 30)::INTEGER AS word_count, 'en' AS language""",
}
SETS = {
    # Every tenth clip is a copy of the one before it.
    "duplicates": """SELECT id, CASE WHEN i % 10 = 9 THEN lag(id) OVER (ORDER BY i) ELSE id END AS "group",
                     i % 10 = 9 AS is_duplicate, NULL AS duplicate_of, u AS distance""",
    # A person is seen in three sources.
    "identities": """SELECT id || '_t0' AS id, id AS clip_id, 0 AS track,
                     'p_' || md5((i // 60)::VARCHAR)[:12] AS identity, md5(id)[:16] AS seen""",
    "candidates": """SELECT id || '_t0_c' || rank AS id, id AS clip_id, 0 AS track, rank::INTEGER AS rank,
                      id AS reference_clip_id, 0 AS reference_track, 40 AS frame, 0.75 + 0.25 * u - 0.01 * rank
                      AS similarity, [0.1, 0.1, 0.9, 0.9] AS box, v AS size, u AS sharpness,
                      {'pose_deg': 40 * v, 'light': u, 'background': v, 'clothing': u} AS differs,
                      (u + v) / 2 AS difference,
                      'media/references/' || md5(id)[:2] || '/' || md5(id) || '.png' AS file""",
}


def _rows(query: str, table: str, first: int, last: int, step: int) -> pa.Table:
    schema = TABLES[table].schema
    more = f", range({CANDIDATES}) AS q(rank)" if table == "candidates" else ""
    text = f"SELECT *, {ROW} FROM ({query} FROM ({CLIP.format(first=first, last=last, step=step)}){more})"
    found = duckdb.sql(text).to_arrow_table()
    missing = pa.nulls(found.num_rows)
    names = set(found.column_names)
    arrays = [(found[name] if name in names else missing).cast(schema.field(name).type) for name in schema.names]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_run_of(folder: Path, clips: int) -> None:
    """A run of so many clips, decided once."""
    files, config = Files(str(folder)), CurateConfig()
    snapshot = Snapshot()
    terms = terms_of("", snapshot, fingerprints(config))
    spread = 2**64 // (clips // PER_SOURCE + 1)
    step = COMMIT_CLIPS // PER_SOURCE * PER_SOURCE
    for first in range(0, clips, step):
        last = min(first + step, clips)
        tables = {table: _rows(query, table, first, last, spread) for table, query in ITEMS.items()}
        sources = duckdb.sql(
            f"SELECT DISTINCT source_id FROM ({CLIP.format(first=first, last=last, step=spread)})"
        ).fetchall()
        ids = sorted(source for (source,) in sources)
        about = {"status": "ok", "backend": "test/1", "fingerprint": "f", "attempt": 1}
        for table, facts in (
            ("sources", {"duration_us": 80_000_000, "fps": 25.0}),
            ("shots", {"start_us": 0, "end_us": 80_000_000, "boundary": "start"}),
            ("locations", {"etag": "1", "licence": "cc0", "consent": "asked"}),
        ):
            end = "_0_80000000" if table == "shots" else ""
            rows = [
                {"id": f"{id_}{end}", "source_id": id_, "uri": f"/footage/{id_}.mp4", **about, **facts} for id_ in ids
            ]
            schema = TABLES[table].schema
            tables[table] = pa.Table.from_pylist([{k: row.get(k) for k in schema.names} for row in rows], schema=schema)
        snapshot = snapshot.with_bundle(*write_bundle(files, {"locations": tables.pop("locations")}), {})
        tables["ledger"] = ledger(dict.fromkeys(ids, terms))
        snapshot = with_sources(files, snapshot, tables, ids)
    relations = Relations(files, snapshot)
    for stage, query in SETS.items():
        ((_, path),) = set_parts(stage, relations, config).items()
        made = files.scratch() / "set.parquet"
        with pq.ParquetWriter(made, TABLES[stage].schema, compression="zstd") as writer:
            for first in range(0, clips, 40_000):
                rows = _rows(query, stage, first, min(first + 40_000, clips), spread)
                writer.write_table(rows.sort_by("id"), row_group_size=GROUP_ROWS)
        files.create_from(path, made)
        snapshot = snapshot.with_set({stage: path})
        relations = Relations(files, snapshot)
    snapshot = commit(files, Snapshot(), snapshot)
    write_run(files, config)
    relations = Relations(files, snapshot)
    for stage in DECISIONS:
        run_set(stage, relations, config)
    commit(files, snapshot, relations.snapshot)


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a command's process."""
    start = time.perf_counter()
    done = subprocess.run(
        [*COMMAND, *command],
        check=False,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(done.stderr)
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def _measured(folder: Path, clips: int) -> None:
    commands = {
        "status": ["status", str(folder)],
        "decide --dry-run": ["decide", str(folder), "--dry-run", "--set", "decide.val_fraction=0.1"],
        "decide": ["decide", str(folder), "--set", "decide.val_fraction=0.1"],
        "decide, references": ["decide", str(folder), "--set", "decide.references.limit=2"],
    }
    for name, command in commands.items():
        # A process of its own: the peak is that of its children, and so of this one command.
        with get_context("spawn").Pool(1) as pool:
            seconds, peak_mib = pool.apply(timed, (command,))
        print(
            f"{clips:>9,} {name:<18} {seconds:6.2f} s {1e6 * seconds / clips:8.2f} us/clip {peak_mib:7.0f} MiB",
            flush=True,
        )


def main() -> None:
    """Print a line a command and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where runs are kept for another time; else they are removed")
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp(prefix="humo-scale-"))
    for clips in options.clips:
        folder = root / str(clips)
        if not folder.exists():
            start = time.perf_counter()
            write_run_of(folder, clips)
            print(f"{clips:>9,} clips written in {time.perf_counter() - start:.0f} s", flush=True)
        _measured(folder, clips)
    if options.folder is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
