"""A source's sound on the presentation clock, decoded and resampled by PyAV as it is read."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
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


MOST_CHANNELS = 24
"""More than any layout of loudspeakers has (22.2): a header that says more is broken, and its samples are noise."""
MOST_RATE = 768_000
FLOATS = {"flt": "f4", "fltp": "f4", "dbl": "f8", "dblp": "f8"}
"""FFmpeg's formats that can hold what is no number, and numpy's names of what they hold."""


@dataclass(kw_only=True)
class SoundLosses:
    """What a track did not give."""

    packets: int = 0
    """Packets and frames that did not decode, or could not be resampled."""
    numberless: int = 0
    """Samples that were no numbers (NaN, infinite); silence stands for them."""
    last_error: str = ""
    gaps: deque[tuple[int, int]] = field(default_factory=deque)
    """Spans without sound, in samples at 16 kHz, in order; those that were read past are forgotten."""

    def cause(self) -> str | None:
        """What to record, or None where everything decoded."""
        said = [f"{self.packets} packets of sound do not decode ({self.last_error})"] if self.packets else []
        if self.numberless:
            said.append(f"{self.numberless} samples of sound are no numbers")
        return ", ".join(said) or None


def sound_stream(container: InputContainer) -> av.AudioStream | None:
    """The audio stream that a player plays: the default one, else the first; None if there is none.

    A track of a codec that FFmpeg does not know has no context, cannot be decoded, and is none.
    """
    streams = [each for each in container.streams.audio if each.codec_context is not None]
    return next((each for each in streams if each.disposition & Disposition.default), streams[0] if streams else None)


def has_sound(container: InputContainer) -> bool:
    """Whether there is an audio stream and anything of it decodes."""
    stream = sound_stream(container)
    return stream is not None and next(_decoded(container, stream, SoundLosses()), None) is not None


class SoundReader:
    """Reads 16 kHz mono PCM16 forwards. Sample n stands at n / 16000 s on the presentation clock.

    Gaps, a late start and everything beyond the end are silence; what overlaps is dropped. Memory is bounded by what
    one call asks for. Several channels are mixed by FFmpeg's matrix, normalised so that nothing clips.
    """

    def __init__(self, container: InputContainer, stream: av.AudioStream) -> None:
        self.losses = SoundLosses()
        self._blocks = _resampled(_placed(container, stream, self.losses), self.losses)
        self._held: deque[Samples] = deque()
        self._position = 0
        self._end = 0
        """The held blocks stand at samples `_position` to `_end`."""
        self._over = False

    @property
    def has_sound(self) -> bool:
        """Whether anything of the track decodes."""
        if not self._end:
            self._more()
        return self._end > 0

    def read(self, start: int, count: int) -> Samples:
        """Samples `start` to `start + count`. Calls must not go backwards."""
        self._forget(start)
        while self._end < start + count and self._more():
            self._forget(start)
        samples = np.zeros(count, np.int16)
        at = self._position
        for block in self._held:
            first, last = max(at, start), min(at + len(block), start + count)
            if first < last:
                samples[first - start : last - start] = block[first - at : last - at]
            at += len(block)
        return samples

    def absent(self, start: int, count: int) -> int:
        """How many samples of the span that was read last are no sound of the track: gaps, before it, beyond it."""
        spans = [*self.losses.gaps, *([(self._end, start + count)] if self._over else [])]
        return sum(max(0, min(last, start + count) - max(first, start)) for first, last in spans)

    def _more(self) -> bool:
        block = None if self._over else next(self._blocks, None)
        if block is None:
            self._over = True
            return False
        self._held.append(block)
        self._end += len(block)
        return True

    def _forget(self, before: int) -> None:
        while self._held and self._position + len(self._held[0]) <= before:
            self._position += len(self._held.popleft())
        while self.losses.gaps and self.losses.gaps[0][1] <= before:
            self.losses.gaps.popleft()


def _decoded(container: InputContainer, stream: av.AudioStream, losses: SoundLosses) -> Iterator[av.AudioFrame]:
    """Frames of the stream. A packet that does not decode leaves a gap; a file that breaks off ends here."""
    stream.codec_context.thread_count = 1
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            _lose(losses, str(error.strerror))
            return
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError as error:
            _lose(losses, str(error.strerror))
            continue
        for frame in frames:
            channels, rate = frame.layout.nb_channels, frame.sample_rate
            if not (0 < channels <= MOST_CHANNELS and 0 < rate <= MOST_RATE and frame.samples > 0):
                _lose(losses, f"{channels} channels at {rate} Hz")
                continue
            yield _numbers(frame, losses)


def _lose(losses: SoundLosses, why: str) -> None:
    losses.packets += 1
    losses.last_error = why


def _numbers(frame: av.AudioFrame, losses: SoundLosses) -> av.AudioFrame:
    """The frame with silence for what is no number."""
    kind = FLOATS.get(frame.format.name)
    # Where the planes are longer than the sound, anything may follow it.
    if kind is None or all(np.isfinite(np.frombuffer(memoryview(plane), kind)).all() for plane in frame.planes):
        return frame
    samples = frame.to_ndarray()
    finite = np.isfinite(samples)
    if finite.all():
        return frame
    losses.numberless += int(samples.size - finite.sum())
    clean = _like(frame, np.where(finite, samples, 0).astype(samples.dtype))
    clean.pts, clean.time_base = frame.pts, frame.time_base
    return clean


def _placed(container: InputContainer, stream: av.AudioStream, losses: SoundLosses) -> Iterator[av.AudioFrame]:
    """Frames without a hole between them, the first of which starts at the clock's zero."""
    origin = Fraction(container.start_time or 0, av.time_base)
    rate = 0
    pushed = 0
    """Samples given out so far, counted at the present rate."""
    drifts: deque[int] = deque(maxlen=DRIFT_PACKETS)
    for frame in _decoded(container, stream, losses):
        if frame.sample_rate != rate:
            pushed = round(Fraction(pushed * frame.sample_rate, rate)) if rate else 0
            rate = frame.sample_rate
            drifts.clear()
        skip = 0
        if frame.pts is not None and frame.time_base is not None:
            # One fraction for every frame; `(pts * base - origin) * rate` would make four.
            base = frame.time_base
            ticks = frame.pts * base.numerator * origin.denominator - origin.numerator * base.denominator
            drifts.append(round(Fraction(ticks * rate, base.denominator * origin.denominator)) - pushed)
            drift = round(sum(drifts) / len(drifts)) if len(drifts) == DRIFT_PACKETS else 0
            off = drifts[-1] if abs(drifts[-1]) > LEAP_S * rate else drift if abs(drift) > DRIFT_S * rate else 0
            if off:
                drifts.clear()
            if off > 0:
                losses.gaps.append((pushed * SAMPLE_RATE // rate, (pushed + off) * SAMPLE_RATE // rate))
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


def _resampled(frames: Iterator[av.AudioFrame], losses: SoundLosses) -> Iterator[Samples]:
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
        try:
            blocks = resampler.resample(frame)
        except (av.error.FFmpegError, ValueError) as error:
            # A layout that FFmpeg has no matrix for. Silence keeps the clock.
            _lose(losses, f"{frame.layout.name}: {error}")
            resampler = None
            yield np.zeros(frame.samples * SAMPLE_RATE // frame.sample_rate, np.int16)
            continue
        yield from map(_samples, blocks)
    yield from _flushed(resampler)


def _flushed(resampler: av.AudioResampler | None) -> Iterator[Samples]:
    if resampler is not None:
        yield from map(_samples, resampler.resample(None))


def _samples(block: av.AudioFrame) -> Samples:
    """Of mono PCM16; they share the frame's memory."""
    return np.frombuffer(memoryview(block.planes[0]), np.int16, block.samples)
