"""Arrow schemas of every table of a run, with their versions.

Every row has the columns of `ROW`: its id, whether it could be measured, and by what. A measurement that failed, does
not apply or was inconclusive is NULL with its cause in `error`. Boxes are x0, y0, x1, y1 in fractions of the clip's
frame. Times are microseconds on the source's presentation clock. `seconds` and `attempt` stand outside every hash.
"""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from schemas.errors import UserError

Status = Literal["ok", "failed", "inapplicable"]

UNHASHED_COLUMNS = ("seconds", "attempt")

ROW = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("error", pa.string()),
    pa.field("backend", pa.string(), nullable=False),
    pa.field("fingerprint", pa.string(), nullable=False),
    pa.field("seconds", pa.float64()),
    pa.field("attempt", pa.int32()),
]

BOX = pa.list_(pa.float32(), 4)
RULE = pa.struct([("tier", pa.string()), ("rule", pa.string()), ("values", pa.string())])


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table's name, the version of its columns, what its rows stand for, and the columns beside those of `ROW`."""

    name: str
    version: int
    row: str
    columns: list[pa.Field]

    @property
    def schema(self) -> pa.Schema:
        """The whole Arrow schema; its metadata carries the name and the version."""
        metadata = {"humo.table": self.name, "humo.version": str(self.version)}
        return pa.schema([*ROW, *self.columns], metadata=metadata)


def _fields(**types: pa.DataType) -> list[pa.Field]:
    return [pa.field(name, type_) for name, type_ in types.items()]


_TABLES = [
    # What each source's rows were computed with, as JSON: see `pipeline.engine.plan.Terms`.
    Table(name="ledger", version=1, row="source", columns=_fields(terms=pa.string())),
    Table(
        name="sources",
        version=1,
        row="source",
        columns=_fields(
            bytes=pa.int64(),
            duration_us=pa.int64(),
            width=pa.int32(),
            height=pa.int32(),
            fps=pa.float64(),
            has_audio=pa.bool_(),
        ),
    ),
    Table(
        name="locations",
        version=1,
        row="place a source was found",
        columns=_fields(
            source_id=pa.string(),
            uri=pa.string(),
            etag=pa.string(),
            bytes=pa.int64(),
            licence=pa.string(),
            consent=pa.string(),
            extra=pa.string(),
        ),
    ),
    Table(
        name="shots",
        version=1,
        row="shot",
        columns=_fields(source_id=pa.string(), start_us=pa.int64(), end_us=pa.int64(), boundary=pa.string()),
    ),
    Table(
        name="clips",
        version=2,
        row="clip",
        columns=_fields(
            source_id=pa.string(),
            shot_id=pa.string(),
            start_us=pa.int64(),
            end_us=pa.int64(),
            frames=pa.int32(),
            width=pa.int32(),
            height=pa.int32(),
            # The rectangle of the upright source picture, in its pixels, that the clip's frame shows.
            transform=pa.struct(
                [
                    ("x0", pa.float32()),
                    ("y0", pa.float32()),
                    ("x1", pa.float32()),
                    ("y1", pa.float32()),
                    ("rotation_deg", pa.int32()),
                    ("scale", pa.float32()),
                ]
            ),
            media_sha256=pa.string(),
            audio_sha256=pa.string(),
            # Share of the clip's sound that the track did not have: gaps, a late start, an early end.
            audio_missing=pa.float32(),
            blocking=pa.float32(),
            combing=pa.float32(),
        ),
    ),
    Table(
        name="quality",
        version=2,
        row="clip",
        columns=_fields(
            sharpness=pa.float32(),
            luma=pa.float32(),
            contrast=pa.float32(),
            motion=pa.float32(),
            camera_motion=pa.float32(),
            repeated=pa.float32(),
            longest_still_s=pa.float32(),
            blocking=pa.float32(),
            combing=pa.float32(),
            text_area=pa.float32(),
            bars=pa.float32(),
            signature=pa.binary(),
            thumbnail_sha256=pa.string(),
        ),
    ),
    Table(
        name="duplicates",
        version=2,
        row="clip",
        columns=_fields(
            group=pa.string(),
            is_duplicate=pa.bool_(),
            duplicate_of=pa.string(),
            # Which other run keeps it; NULL for a clip of this run.
            duplicate_run=pa.string(),
            # How much detail there is, by which the best copy is chosen.
            worth=pa.float32(),
            distance=pa.float32(),
            # What a later run need not compare again: the copies found, how far each is, and a digest of the signature.
            copies=pa.list_(pa.string()),
            apart=pa.list_(pa.float32()),
            seen=pa.string(),
        ),
    ),
    Table(
        name="faces",
        version=1,
        row="clip",
        columns=_fields(subjects=pa.int32(), largest=pa.float32(), boxes_sha256=pa.string()),
    ),
    Table(
        name="tracks",
        version=2,
        row="face track",
        columns=_fields(
            clip_id=pa.string(),
            source_id=pa.string(),
            shot_id=pa.string(),
            track=pa.int32(),
            first_frame=pa.int32(),
            last_frame=pa.int32(),
            detected=pa.float32(),
            size=pa.float32(),
            sharpness=pa.float32(),
            luma=pa.float32(),
            yaw_deg=pa.float32(),
            embedding=pa.list_(pa.float32()),
            mouth=pa.list_(pa.float32()),
            reference_frame=pa.int32(),
            # What the reference picture shows of its frame, and where the face is in that frame.
            reference_box=BOX,
            reference_face=BOX,
            reference_sha256=pa.string(),
        ),
    ),
    Table(
        name="identities",
        version=2,
        row="track",
        columns=_fields(
            clip_id=pa.string(),
            track=pa.int32(),
            identity=pa.string(),
            # Tracks that are alike, directly or by way of others, and a digest of what was looked at of this one.
            component=pa.string(),
            seen=pa.string(),
            # The identity as it was computed, where people say otherwise.
            clustered=pa.string(),
        ),
    ),
    Table(
        name="candidates",
        version=2,
        row="reference candidate",
        columns=_fields(
            clip_id=pa.string(),
            track=pa.int32(),
            rank=pa.int32(),
            reference_clip_id=pa.string(),
            reference_track=pa.int32(),
            frame=pa.int32(),
            similarity=pa.float32(),
            box=BOX,
            size=pa.float32(),
            sharpness=pa.float32(),
            differs=pa.struct(
                [(name, pa.float32()) for name in ("pose_deg", "light", "background", "clothing")],
            ),
            # The four of them in one number, 0 to 1.
            difference=pa.float32(),
            file=pa.string(),
            # Digest of all that the candidates of this identity follow from.
            inputs=pa.string(),
        ),
    ),
    Table(
        name="references",
        version=2,
        row="clip",
        columns=_fields(
            count=pa.int32(),
            speaker_count=pa.int32(),
            best_similarity=pa.float32(),
            # Least cosine of the caption and a chosen picture; NULL where looks are not measured.
            caption_similarity=pa.float32(),
            chosen=pa.list_(pa.string()),
            speaker_chosen=pa.list_(pa.string()),
        ),
    ),
    Table(
        name="speech",
        version=2,
        row="clip",
        columns=_fields(
            ratio=pa.float32(),
            loudness_lufs=pa.float32(),
            snr_db=pa.float32(),
            spans_us=pa.list_(pa.list_(pa.int64(), 2)),
            longest_pause_s=pa.float32(),
            # Shares of the clip's length: at full scale; under -60 dBFS; sound that is no speech, and how flat its
            # spectrum is (0 a tone, 1 white noise).
            clipping=pa.float32(),
            silence=pa.float32(),
            other=pa.float32(),
            other_flatness=pa.float32(),
            bandwidth_hz=pa.float32(),
            language=pa.string(),
            language_probability=pa.float32(),
            text=pa.string(),
            # JSON: [[word, start us, end us, score], ...], null where a word could not be aligned.
            word_times=pa.string(),
            log_probability=pa.float32(),
            no_speech=pa.float32(),
            compression=pa.float32(),
            repeats=pa.int32(),
        ),
    ),
    Table(
        name="vocals",
        version=1,
        row="clip",
        # share: of the sound's energy, the voice's.
        columns=_fields(vocals_sha256=pa.string(), share=pa.float32()),
    ),
    Table(
        name="sync",
        version=2,
        row="clip",
        columns=_fields(
            speaker_track=pa.int32(),
            offset_frames=pa.int32(),
            confidence=pa.float32(),
            p_value=pa.float32(),
            voice_over=pa.bool_(),
            # How far the offset differs between the halves of the clip; NULL where a half does not tell.
            drift_frames=pa.int32(),
            # Share of the speech during which the speaker's face is seen.
            overlap=pa.float32(),
            # The lowest p-value among the other faces; NULL where there is none.
            next_p_value=pa.float32(),
        ),
    ),
    Table(
        name="sync_tracks",
        version=2,
        row="face track",
        columns=_fields(
            clip_id=pa.string(),
            track=pa.int32(),
            offset_frames=pa.int32(),
            confidence=pa.float32(),
            p_value=pa.float32(),
            drift_frames=pa.int32(),
            overlap=pa.float32(),
            mouth_motion=pa.float32(),
        ),
    ),
    Table(
        name="captions",
        version=2,
        row="clip",
        columns=_fields(
            text=pa.string(),
            text_short=pa.string(),
            word_count=pa.int32(),
            language=pa.string(),
            # How often the caption speaks against what was measured, and in which words; see `caption_agreement`.
            contradictions=pa.int32(),
            contradiction=pa.string(),
            # The prompt's version, and the frames and decoding options as JSON; NULL where no model was asked.
            prompt=pa.string(),
            asked=pa.string(),
        ),
    ),
    # Frames that models look at, sampled while the clip was decoded: one JPEG of them all, one below the other.
    Table(
        name="frames",
        version=1,
        row="clip",
        columns=_fields(indices=pa.list_(pa.int32()), width=pa.int32(), height=pa.int32(), frames_sha256=pa.string()),
    ),
    Table(
        name="looks",
        version=1,
        row="clip",
        columns=_fields(
            aesthetic=pa.float32(),
            caption_similarity=pa.float32(),
            embedding=pa.list_(pa.float32()),
            caption_embedding=pa.list_(pa.float32()),
        ),
    ),
    Table(
        name="look_tracks",
        version=1,
        row="face track",
        columns=_fields(clip_id=pa.string(), track=pa.int32(), embedding=pa.list_(pa.float32())),
    ),
    Table(
        name="decisions",
        version=2,
        row="clip",
        columns=_fields(
            tier=pa.string(),
            outcome=pa.string(),
            split=pa.string(),
            component=pa.string(),
            failed_rules=pa.list_(RULE),
            unknown_rules=pa.list_(RULE),
            # Rules that it did not pass, and that a reviewer's verdict set aside.
            overruled=pa.list_(RULE),
        ),
    ),
    # What people said, one row each time; `pipeline.verdicts` tells which of it stands.
    Table(
        name="verdicts",
        version=1,
        row="verdict",
        columns=_fields(
            at_us=pa.int64(),
            kind=pa.string(),
            reviewer=pa.string(),
            note=pa.string(),
            clip_id=pa.string(),
            media_sha256=pa.string(),
            caption=pa.string(),
            reference=pa.string(),
            undoes=pa.string(),
            audit=pa.string(),
            tracks=pa.list_(pa.string()),
            seen=pa.list_(pa.string()),
            details=pa.string(),
        ),
    ),
]

TABLES: dict[str, Table] = {table.name: table for table in _TABLES}

CLIP_TABLES = ("quality", "duplicates", "faces", "references", "speech", "vocals", "sync", "captions", "looks")
"""Tables with exactly one row for every clip: what a rule may speak of."""


def check_version(schema: pa.Schema, *, where: str) -> None:
    """Refuse a part that a newer version wrote, by name. Raises UserError."""
    metadata = schema.metadata or {}
    name = metadata.get(b"humo.table", b"").decode()
    version = int(metadata.get(b"humo.version", b"0"))
    table = TABLES.get(name)
    if table is None:
        raise UserError(f"{where} holds the table {name!r}, which this version does not know")
    if version > table.version:
        raise UserError(
            f"{where} holds {name} version {version}; this version reads up to {table.version}: update humo"
        )
