"""Speed of the audio measurements as a multiple of real time on one core, beside the VAD alone; memory of the reader.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.audio_pass [--clips 50] [--hours 2]

Processor time, so that other work on the machine matters little.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from pipeline.backends.loudness import measure_loudness, measure_snr
from pipeline.backends.mouth_sync import find_offset
from pipeline.backends.pyav_decode import open_footage
from pipeline.backends.pyav_sound import SAMPLE_RATE, SoundReader, sound_stream
from pipeline.backends.silero_voice import SileroVoice
from pipeline.backends.sound_content import measure_content
from pipeline.demo.speech import VOICES, per_frame, speak

FRAMES = 97
SAMPLES = FRAMES * 640


def _cpu(what: Callable[[], object]) -> float:
    start = time.process_time()
    what()
    return time.process_time() - start


def _long_file(path: Path, hours: float) -> None:
    """Stereo AAC at 48 kHz."""
    minute = resample_poly(speak(np.random.default_rng(0), seconds=60, voice=VOICES["narrator"]).waveform_s, 1, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="stereo")
        at = 0
        for _ in range(round(60 * hours)):
            for start in range(0, len(minute), 1024):
                block = np.repeat(minute[start : start + 1024].astype(np.float32), 2)[None]
                frame = av.AudioFrame.from_ndarray(block, format="flt", layout="stereo")
                frame.sample_rate, frame.pts = 48_000, at
                at += block.shape[1] // 2
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _read(path: Path, hours: float) -> list[int]:
    """Reads clip after clip; the peak of the process's memory in MiB, a value a tenth of the file."""
    peaks = []
    with open_footage(path) as container:
        stream = sound_stream(container)
        assert stream is not None
        reader = SoundReader(container, stream)
        count = int(hours * 3600 * SAMPLE_RATE / SAMPLES)
        for number in range(count):
            reader.read(number * SAMPLES, SAMPLES)
            if number % max(1, count // 10) == 0:
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    return peaks


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--hours", type=float, default=2.0)
    options = parser.parse_args()
    said = [speak(np.random.default_rng(n), seconds=FRAMES / 25, voice=VOICES["hopper"]) for n in range(4)]
    waves: list[NDArray[np.float32]] = [
        resample_poly(one.waveform_s, 1, 3).astype(np.float32)[:SAMPLES] for one in said
    ]
    mouths = [per_frame(one.opening_t, fps=25, frames=FRAMES) for one in said]
    voice = SileroVoice()
    spans = [voice.measure(wave).spans for wave in waves]
    turns = [number % len(waves) for number in range(options.clips)]
    seconds = options.clips * FRAMES / 25
    parts: dict[str, Callable[[int], object]] = {
        "voice activity": lambda n: voice.measure(waves[n]),
        "loudness": lambda n: measure_loudness(waves[n]),
        "signal to noise": lambda n: measure_snr(waves[n], spans[n]),
        "content": lambda n: measure_content(waves[n], spans[n]),
        "sync, one track": lambda n: find_offset(mouths[n], waves[n], seed_key="benchmark"),
    }
    spent = {}
    for name, part in parts.items():
        part(0)
        spent[name] = _cpu(lambda part=part: [part(n) for n in turns])  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        _long_file(path, options.hours)
        start = time.process_time()
        peaks = _read(path, options.hours)
        reading = time.process_time() - start
    for name, took in spent.items():
        print(f"{name:18} {seconds / took:8.0f} x real time")
    print(f"{'decode, resample':18} {options.hours * 3600 / reading:8.0f} x real time")
    whole = sum(spent.values()) / seconds + reading / (options.hours * 3600)
    print(f"{'all of it':18} {1 / whole:8.0f} x real time")
    print(f"peak memory over {options.hours} h of sound, MiB: {peaks}")


if __name__ == "__main__":
    main()
