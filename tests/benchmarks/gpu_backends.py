"""Throughput of each architecture of the gpu profile at full size, with random weights: no download is needed.

    python tests/benchmarks/gpu_backends.py                    # on the GPU, in the published sizes
    python tests/benchmarks/gpu_backends.py --tiny --device cpu    # that it runs: tiny models, numbers without meaning

Per backend and batch: items a second (median of the repeats), and the most GPU memory. What an item is, the table says.
open_clip and insightface are measured where they can be imported (`humo doctor`); left out aloud elsewhere. insightface
has no published configuration without weights: its graphs are measured only with --own insightface-buffalo-l=FOLDER.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

FRAMES = 8
TOKENS = 160
"""As long as a caption is; random weights never end one by themselves."""


@dataclass(frozen=True)
class Case:
    """A backend at one batch size."""

    name: str
    item: str
    batch: int
    work: Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", help="backends whose name contains this")
    parser.add_argument("--own", action="append", default=[], metavar="NAME=FOLDER")
    given = parser.parse_args()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU here: --device cpu --tiny shows that the benchmark runs")
    print(f"device: {torch.cuda.get_device_name(0) if given.device == 'cuda' else 'cpu'}, torch {torch.__version__}")
    print(f"{'backend':<24}{'item':<34}{'batch':>6}{'items/s':>10}{'s/batch':>10}{'GPU GiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        own = dict(pair.split("=", 1) for pair in given.own)
        for case in cases(Path(folder), given.device, tiny=given.tiny, only=given.only or "", own=own):
            measure(case, given.device, given.repeats)


def measure(case: Case, device: str, repeats: int) -> None:
    import torch

    def once() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        case.work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    once()
    seconds = statistics.median(once() for _ in range(repeats))
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}" if device == "cuda" else "-"
    print(f"{case.name:<24}{case.item:<34}{case.batch:>6}{case.batch / seconds:>10.2f}{seconds:>10.3f}{memory:>9}")


def cases(folder: Path, device: str, *, tiny: bool, only: str, own: dict[str, str]) -> Iterator[Case]:
    """One after another, so that only one model is held."""
    for name, made in {"qwen2.5-vl-7b": qwen, "qwen3-vl-8b": qwen, "transnetv2": transnet, "open_clip": looks}.items():
        if only in name:
            yield from made(name, folder / name, device, tiny)
    if only in "insightface":
        yield from faces(own.get("insightface-buffalo-l"), device)


def qwen(name: str, folder: Path, device: str, tiny: bool) -> Iterator[Case]:
    from pipeline.backends.captioner import Asked
    from pipeline.backends.chat_server import Decoding
    from pipeline.backends.qwen_vl import QwenCaptioner
    from tests.pipeline import tiny_models

    tiny_models.qwen(folder, "2.5" if "2.5" in name else "3", full=not tiny)
    tokens = 4 if tiny else TOKENS
    random = np.random.default_rng(0)
    height, width = (56, 84) if tiny else (432, 768)
    for batch in (1, 2) if tiny else (1, 4, 8, 16):
        model = QwenCaptioner(
            folder, version="random", device=device, decoding=Decoding(tokens=tokens, temperature=0.0), batch=batch
        )
        asked = [
            Asked(
                key=f"{number}",
                frames_thwc=[random.integers(0, 255, (height, width, 3), dtype=np.uint8) for _ in range(FRAMES)],
                seconds=0.5,
            )
            for number in range(batch)
        ]
        what = f"clip, {FRAMES} frames, {tokens} tokens"
        yield Case(name, what, batch, lambda model=model, asked=asked: model.reply(asked))  # type: ignore[misc]


def transnet(name: str, folder: Path, device: str, tiny: bool) -> Iterator[Case]:
    import torch

    from pipeline.backends.transnetv2 import TransNetV2

    model = TransNetV2().to(device).eval()
    for batch in (1,) if tiny else (1, 8, 32):
        frames = torch.randint(0, 255, (batch, 100, 27, 48, 3), dtype=torch.uint8, device=device)

        def look(frames: torch.Tensor = frames) -> None:
            with torch.inference_mode():
                model(frames)

        yield Case(name, "window (50 pictures told)", batch, look)


def looks(name: str, folder: Path, device: str, tiny: bool) -> Iterator[Case]:
    try:
        import open_clip  # noqa: F401
    except ImportError as error:
        print(f"{name:<24}left out: {error}")
        return
    from pipeline.backends.open_clip_looks import OpenClipLooks
    from tests.pipeline import tiny_models

    clip, head = tiny_models.open_clip(folder / "clip", full=not tiny), folder / "head"
    tiny_models.aesthetic_head(head, width=16 if tiny else 768)
    random = np.random.default_rng(0)
    for batch in (2,) if tiny else (16, 64, 256):
        model = OpenClipLooks(clip, head, version="random", device=device, batch=batch)
        shown = [random.integers(0, 255, (432, 768, 3), dtype=np.uint8) for _ in range(batch)]
        yield Case(name, "picture, embedding and score", batch, lambda m=model, s=shown: m.aesthetic(m.pictures(s)))  # type: ignore[misc]


def faces(root: str | None, device: str) -> Iterator[Case]:
    if root is None:
        print(f"{'insightface':<24}left out: --own insightface-buffalo-l=FOLDER")
        return
    from pipeline.backends.insightface_pack import InsightfaceDetector

    detector = InsightfaceDetector(Path(root), version="own", device=device, smallest=0.05)
    frame = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    yield Case("insightface", "picture searched", 1, lambda: detector.find(frame, frame[..., 0]))


if __name__ == "__main__":
    main()
