"""A benchmark set of packed samples that a model did not see."""

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.backends.signature import EVERY, Signature, SignatureMeter, read_signature, small_picture
from schemas.errors import UserError
from training.config import TrainingConfig
from training.dataset import IndexRow, ShardSet, hold_out, open_shard_set
from training.evaluation.cases.benchmark import Case, CaseSet, Kind, MediaFile, sha256, write_set
from training.evaluation.cases.leaks import Origin, checked, find_leaks
from training.run_folder import PINNED, RUN_FILE
from training.samples import DamagedSample, read_members


@dataclass(frozen=True)
class Choice:
    """Samples to ask for, and samples that training saw."""

    asked: list[IndexRow]
    asked_shards: ShardSet
    trained: list[IndexRow]
    trained_shards: ShardSet
    same_run: bool
    words: str


def choose(manifest: str, *, trained: Path | None, trained_data: str | None) -> Choice:
    """What can be asked for, and what it must share nothing with.

    Args:
        manifest: the shards that the cases are taken from.
        trained: folder of the training run to check against; when None, all of the manifest's training split.
        trained_data: the shards of that run where they are others than `manifest`; of a run on encoded samples those
            that were encoded.

    Raises UserError where nothing is held out, and where the shards of the run are not known.
    """
    shards = open_shard_set(manifest)
    if trained is None:
        asked = [row for row in shards.rows if row.split == "val"]
        seen = [row for row in shards.rows if row.split == "train"]
        return _chosen(Choice(asked, shards, seen, shards, True, "the validation split"))
    run_file = trained / RUN_FILE
    if not run_file.is_file():
        raise UserError(f"{trained} is no training run: it has no {RUN_FILE}")
    config = TrainingConfig.model_validate(json.loads(run_file.read_text())["config"])
    pinned = open_shard_set(trained_data or manifest, pinned=trained / PINNED)
    seen, held = hold_out([row for row in pinned.rows if row.split == "train"], config.data.hold_out)
    if (origin := pinned.manifest.encoded_from) is not None:
        # Encoded samples hold neither pictures nor sound; what they were encoded from does.
        pinned = shards if trained_data is None else open_shard_set(trained_data)
        if pinned.manifest.fingerprint != origin:
            raise UserError(
                f"{trained} was trained on what was encoded of other shards than {trained_data or manifest}: give "
                "those with --trained-data, to be checked against"
            )
        whole = {row.key: row for row in pinned.rows}
        seen, held = ([whole[row.key] for row in rows] for rows in (seen, held))
    if pinned.manifest.fingerprint == shards.manifest.fingerprint:
        asked = [row for row in shards.rows if row.split == "val"] or held
        words = "the validation split" if asked is not held else "what the training run held out by key"
        return _chosen(Choice(asked, shards, seen, pinned, True, words))
    if trained_data is None:
        raise UserError(
            f"{trained} was not trained on {manifest}: give its own shards with --trained-data, to be checked against"
        )
    return _chosen(Choice(list(shards.rows), shards, seen, pinned, False, "another curation"))


def _chosen(choice: Choice) -> Choice:
    if not choice.asked:
        raise UserError(
            "nothing is held out: the manifest has no validation split (all footage hangs together), and no training "
            "run with samples held out was given with --trained"
        )
    return choice


def make_set(choice: Choice, out: Path, *, accepted: Sequence[Kind], limit: int | None) -> CaseSet:
    """Write a benchmark set into `out`.

    It appears there whole or not at all. Raises UserError for a leak that is not accepted, and if `out` holds anything.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: give another --out")
    asked = choice.asked[:limit]
    cases = list(_origins(choice.asked_shards, asked))
    leaks = find_leaks(cases, _origins(choice.trained_shards, choice.trained), same_run=choice.same_run)
    checks = checked(leaks, cases=len(asked), same_run=choice.same_run, accepted=accepted)
    partial = out.with_name(f".partial-{out.name}")
    shutil.rmtree(partial, ignore_errors=True)
    written = tuple(_write_case(choice.asked_shards, row, partial) for row in asked)
    made_from = f"{choice.words}, {len(written)} samples of the manifest {choice.asked_shards.manifest.fingerprint}"
    result = CaseSet(name=out.name, made_from=made_from, checks=checks, cases=written)
    write_set(partial, result)
    # What a kill leaves has another name, so that the same command may be given again.
    partial.rename(out)
    return result


def signature_of(mp4: bytes) -> Signature:
    """Of an encoded clip; every second frame is looked at."""
    meter = SignatureMeter()
    with av.open(io.BytesIO(mp4), mode="r", format="mp4") as container:
        container.streams.video[0].thread_count = 1
        for index, frame in enumerate(container.decode(video=0)):
            if index % EVERY == 0:
                gray = cv2.cvtColor(frame.to_ndarray(format="rgb24"), cv2.COLOR_RGB2GRAY)
                meter.add(small_picture(gray.astype(np.uint8, copy=False)))
    return read_signature(meter.to_bytes())


def _origins(shards: ShardSet, rows: Sequence[IndexRow]) -> Iterator[Origin]:
    for row in rows:
        members = _members(shards, row)
        record = json.loads(members["json"])
        # A clip's key begins with its source.
        lent = {str(reference["clip"]).partition("_")[0] for reference in record["references"]}
        yield Origin(
            key=row.key,
            identities=frozenset(row.identities),
            sources=frozenset({str(record["source"]["source_id"]), *lent}),
            signature=signature_of(members["mp4"]),
        )


def _write_case(shards: ShardSet, row: IndexRow, out: Path) -> Case:
    members = _members(shards, row)
    record = json.loads(members["json"])
    folder = out / "files"
    folder.mkdir(parents=True, exist_ok=True)

    def kept(extension: str) -> MediaFile:
        path = folder / f"{row.key}.{extension}"
        path.write_bytes(members[extension])
        return MediaFile(path=str(path.relative_to(out)), sha256=sha256(path))

    return Case(
        name=row.key,
        text=members["txt"].decode(),
        references=tuple(kept(f"ref{number}.png") for number in range(row.references)),
        speech=kept("flac") if row.tier == "sync" else None,
        video=kept("mp4"),
        frames=str(row.frames),
        source=str(record["source"]["source_id"]),
        identities=row.identities,
        licence=record["licence"],
    )


def _members(shards: ShardSet, row: IndexRow) -> dict[str, bytes]:
    try:
        return read_members(shards.address(row.shard), row)
    except DamagedSample as error:
        raise UserError(f"the sample {row.key} cannot be used: {error}; pack anew") from error
