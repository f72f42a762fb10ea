"""A source's sound on the presentation clock, decoded and resampled by PyAV as it is read."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = 640
"""Of 16 kHz sound to a frame at 25 fps."""

Samples = NDArray[np.int16]

# Containers that count time in milliseconds stamp every packet up to half a millisecond off. A stamp that is off by
# more than LEAP_S is a gap (or an overlap); a smaller difference is taken seriously once it has lasted.
LEAP_S = 0.010
DRIFT_S = 0.001
DRIFT_PACKETS = 32


def sound_stream(container: InputContainer) -> av.AudioStream | None:
    """The audio stream that a player plays: the default one, else the first; None if there is none."""
    streams = container.streams.audio
    return next((each for each in streams if each.disposition & Disposition.default), streams[0] if streams else None)


def has_sound(container: InputContainer) -> bool:
    """Whether there is an audio stream and anything of it decodes."""
    stream = sound_stream(container)
    return stream is not None and next(_decoded(container, stream), None) is not None


class SoundReader:
    """Reads 16 kHz mono PCM16 forwards. Sample n stands at n / 16000 s on the presentation clock.

    Gaps, a late start and everything beyond the end are silence; what overlaps is dropped. Memory is bounded by what
    one call asks for. Several channels are mixed by FFmpeg's matrix, normalised so that nothing clips.
    """

    def __init__(self, container: InputContainer, stream: av.AudioStream) -> None:
        self._blocks = _resampled(_placed(container, stream))
        self._held: deque[Samples] = deque()
        self._position = 0
        self._end = 0
        """The held blocks stand at samples `_position` to `_end`."""

    def read(self, start: int, count: int) -> Samples:
        """Samples `start` to `start + count`. Calls must not go backwards."""
        self._forget(start)
        while self._end < start + count and (block := next(self._blocks, None)) is not None:
            self._held.append(block)
            self._end += len(block)
            self._forget(start)
        samples = np.zeros(count, np.int16)
        at = self._position
        for block in self._held:
            first, last = max(at, start), min(at + len(block), start + count)
            if first < last:
                samples[first - start : last - start] = block[first - at : last - at]
            at += len(block)
        return samples

    def _forget(self, before: int) -> None:
        while self._held and self._position + len(self._held[0]) <= before:
            self._position += len(self._held.popleft())


def _decoded(container: InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Frames of the stream. A packet that does not decode leaves a gap; a file that breaks off ends here."""
    stream.codec_context.thread_count = 1
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError:
            continue
        yield from frames


def _placed(container: InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Frames without a hole between them, the first of which starts at the clock's zero."""
    origin = Fraction(container.start_time or 0, av.time_base)
    rate = 0
    pushed = 0
    """Samples given out so far, counted at the present rate."""
    drifts: deque[int] = deque(maxlen=DRIFT_PACKETS)
    for frame in _decoded(container, stream):
        if frame.sample_rate != rate:
            pushed = round(Fraction(pushed * frame.sample_rate, rate)) if rate else 0
            rate = frame.sample_rate
            drifts.clear()
        skip = 0
        if frame.pts is not None and frame.time_base is not None:
            drifts.append(round((frame.pts * frame.time_base - origin) * rate) - pushed)
            drift = round(sum(drifts) / len(drifts)) if len(drifts) == DRIFT_PACKETS else 0
            off = drifts[-1] if abs(drifts[-1]) > LEAP_S * rate else drift if abs(drift) > DRIFT_S * rate else 0
            if off:
                drifts.clear()
            for samples in _pieces(off, rate):
                yield _silence(frame, samples)
                pushed += samples
            skip = max(0, -off)
        if skip < frame.samples:
            yield frame if not skip else _cut(frame, skip)
            pushed += frame.samples - skip


def _pieces(samples: int, longest: int) -> Iterator[int]:
    while samples > 0:
        yield min(samples, longest)
        samples -= longest


def _silence(like: av.AudioFrame, samples: int) -> av.AudioFrame:
    return _like(like, np.zeros_like(like.to_ndarray(), shape=_shape(like, samples)))


def _cut(frame: av.AudioFrame, skip: int) -> av.AudioFrame:
    planar = frame.format.is_planar
    kept = frame.to_ndarray()[:, skip if planar else skip * frame.layout.nb_channels :]
    return _like(frame, np.ascontiguousarray(kept))


def _shape(frame: av.AudioFrame, samples: int) -> tuple[int, int]:
    channels = frame.layout.nb_channels
    return (channels, samples) if frame.format.is_planar else (1, samples * channels)


def _like(frame: av.AudioFrame, samples: NDArray[Any]) -> av.AudioFrame:
    made = av.AudioFrame.from_ndarray(samples, format=frame.format.name, layout=frame.layout)
    made.sample_rate = frame.sample_rate
    return made


def _resampled(frames: Iterator[av.AudioFrame]) -> Iterator[Samples]:
    """16 kHz mono blocks. A stream that changes its format half-way is resampled piece by piece."""
    resampler: av.AudioResampler | None = None
    kind: tuple[str, str, int] | None = None
    for frame in frames:
        this = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or this != kind:
            yield from _flushed(resampler)
            resampler, kind = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE), this
        # Without a time the resampler cannot second-guess the order that `_placed` made.
        frame.pts = None
        for block in resampler.resample(frame):
            yield np.asarray(block.to_ndarray()[0], dtype=np.int16)
    yield from _flushed(resampler)


def _flushed(resampler: av.AudioResampler | None) -> Iterator[Samples]:
    if resampler is not None:
        for block in resampler.resample(None):
            yield np.asarray(block.to_ndarray()[0], dtype=np.int16)
