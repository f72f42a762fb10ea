"""How the measured offset follows the sound, and how often a stranger's speech passes, on the clips of a run.

    python -m tests.benchmarks.sync_table RUN [--swaps 200] [--foreign FILE.wav ...]

For every track with a mouth: offset, confidence and p-value as they are, then with the audio shifted by -15, -10, -5,
5, 10 and 15 frames; then other clips' speech, and the speech of the files named, under each mouth. A table a source.
"""

import argparse
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from pipeline.backends.mouth_sync import SAMPLE_RATE, SAMPLES_PER_FRAME, SyncMeasure, find_offset
from pipeline.store.files import Files
from pipeline.store.media import get_media
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest

SHIFTS = (-15, -10, -5, 5, 10, 15)
LEVEL = 0.005


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A face track, the sound of its clip, and what the clip's speech ratio is."""

    source: str
    start_s: float
    track: int
    mouth: NDArray[np.float64]
    wave: NDArray[np.float32]
    ratio: float

    @property
    def key(self) -> str:
        """Decides the surrogates."""
        return f"{self.source} {self.start_s} {self.track}"

    def measure(self, wave: NDArray[np.float32] | None = None) -> SyncMeasure:
        """This mouth against this clip's sound, or another."""
        return find_offset(self.mouth, self.wave if wave is None else wave, seed_key=self.key)


def heard(run: Path) -> Iterator[Heard]:
    """Every track of a clip with sound, by file and time."""
    files = Files(str(run))
    found = (
        Relations(files, latest(files))
        .connection.execute(
            """SELECT DISTINCT l.uri, c.start_us, t.track, t.mouth, c.audio_sha256, s.ratio FROM tracks t
               JOIN clips c ON c.id = t.clip_id JOIN locations l ON l.source_id = c.source_id
               JOIN speech s ON s.id = c.id WHERE c.audio_sha256 IS NOT NULL ORDER BY l.uri, c.start_us, t.track"""
        )
        .fetchall()
    )
    for uri, start_us, track, mouth, audio, ratio in found:
        wave, _ = soundfile.read(io.BytesIO(get_media(files, "audio", audio)), dtype="float32")
        opened = np.array([np.nan if value is None else value for value in mouth], dtype=np.float64)
        source = PurePath(uri).name
        yield Heard(source=source, start_s=start_us / 1e6, track=track, mouth=opened, wave=wave, ratio=ratio)


def shifted(wave: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """The sound late by so many frames (early where negative); silence comes in."""
    moved = np.roll(wave, frames * SAMPLES_PER_FRAME)
    if frames > 0:
        moved[: frames * SAMPLES_PER_FRAME] = 0
    elif frames < 0:
        moved[frames * SAMPLES_PER_FRAME :] = 0
    return moved


def strangers(all_heard: list[Heard], count: int) -> list[tuple[Heard, Heard]]:
    """Pairs of clips of equal length with different speech; copies of one another are left out."""
    speaking = [one for one in all_heard if one.ratio > 0.3]
    pairs = [
        (mine, other)
        for mine in speaking
        for other in speaking
        if (mine.source, mine.start_s) != (other.source, other.start_s)
        and len(mine.wave) == len(other.wave)
        and not alike(mine.wave, other.wave)
    ]
    np.random.default_rng(0).shuffle(pairs)  # type: ignore[arg-type]
    return pairs[:count]


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two sounds are the same speech, up to a few frames: their envelopes correlate at some offset."""
    levels = [np.log(np.abs(wave.reshape(-1, SAMPLES_PER_FRAME)).mean(axis=1) + 1e-4) for wave in (one, other)]
    first, second = (level - level.mean() for level in levels)
    norm = max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-9)
    return float(np.correlate(first, second, "full").max()) > 0.85 * norm


def _windows(path: Path, samples: int) -> Iterator[NDArray[np.float32]]:
    wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = resample_poly(wave.mean(axis=1), SAMPLE_RATE, rate).astype(np.float32)
    yield from (mono[at : at + samples] for at in range(0, len(mono) - samples + 1, samples))


def _said(measure: SyncMeasure) -> str:
    if measure.p_value is None or measure.confidence is None:
        return f"NULL ({measure.cause})"
    return f"{measure.offset_frames:+3d}  {measure.confidence:.2f}  {measure.p_value:.4f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--foreign", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    tracks = list(heard(options.run))
    print(f"{'source':36} {'at':>6} track  offset confidence p | found at shifts {SHIFTS}")
    for one in tracks:
        plain = one.measure()
        follow = ""
        if plain.offset_frames is not None:
            follow = " ".join(f"{one.measure(shifted(one.wave, by)).offset_frames:+3d}" for by in SHIFTS)
        print(f"{one.source[:36]:36} {one.start_s:6.2f} {one.track:5d}  {_said(plain)} | {follow}", flush=True)
    pairs = strangers(tracks, options.swaps)
    found = [mine.measure(other.wave) for mine, other in pairs]
    values = np.array([measure.p_value for measure in found if measure.p_value is not None])
    print(
        f"other clips' speech: {(values <= LEVEL).sum()} of {len(pairs)} at p <= {LEVEL}; "
        f"{(values <= 0.05).sum()} at p <= 0.05; {len(pairs) - len(values)} inconclusive"
    )
    for path in options.foreign:
        measures = [one.measure(wave) for one in tracks for wave in _windows(path, len(one.wave))]
        values = np.array([measure.p_value for measure in measures if measure.p_value is not None])
        print(f"{path.name}: {(values <= LEVEL).sum()} of {len(measures)} at p <= {LEVEL}")


if __name__ == "__main__":
    main()
