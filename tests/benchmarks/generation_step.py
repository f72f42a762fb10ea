"""Time of a guided sampling step beside a straightforward one: `python tests/benchmarks/generation_step.py`.

Straightforward is the official step: four passes (TIA, TA, T, 0) one at a time, in each of them text and audio
embedded, their keys and values, the rotary table and the modulation computed anew. Both sides run the same weights,
shapes and threads in turns; printed are medians and the largest difference of the guided velocities. The weights are
random.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from humo.guidance import official_1_7b
from humo.passes import Choice, Passes
from humo.transformer import HuMoTransformer

SHAPES = {300: (5, 12, 20), 2048: (8, 32, 32)}
"""Latent frames with one reference, rows and columns, by tokens."""


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[300, 2048], choices=SHAPES)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    heads, ffn = options.width // 128, options.width * 35 // 6
    model = HuMoTransformer(form="overwrite", width=options.width, ffn=ffn, heads=heads, layers=options.layers).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(("head.head.weight", "audio_cross_attn.o.weight")):
            torch.nn.init.normal_(parameter, std=0.02)
    print(f"width {options.width}, ffn {ffn}, {options.layers} layers, {options.threads} threads")
    for tokens in options.tokens:
        compare(model, tokens=tokens, rounds=options.rounds, at_once=options.at_once)


@torch.no_grad()
def compare(model: HuMoTransformer, *, tokens: int, rounds: int, at_once: int) -> None:
    """One size: both sides in turns."""
    frames, rows, columns = SHAPES[tokens]
    video = frames - 1
    latents, timestep = torch.randn(1, 16, frames, rows, columns), torch.tensor(700.0)
    texts = Choice(torch.randn(1, 80, 4096), torch.randn(1, 60, 4096))
    audios = Choice(torch.randn(1, video, 8, 5, 1280), torch.zeros(1, video, 8, 5, 1280))
    references = Choice(torch.randn(1, 16, 1, rows, columns), torch.zeros(1, 16, 1, rows, columns))
    weights = official_1_7b().weights("TIA", 700.0)
    passes = Passes(model, texts=texts, audios=audios, references=references, zero_condition=None, at_once=at_once)

    def straightforward() -> Tensor:
        def one(worded: bool, pictured: bool, heard: bool) -> Tensor:
            velocity: Tensor = model(
                latents,
                timestep[None],
                text_bld=texts.given if worded else texts.null,
                audio_windows_btwgc=audios.given if heard else audios.null,
                reference_bcrhw=references.given if pictured else references.null,
            ).velocity_bcthw
            return velocity

        tia, ta, t, nothing = (one(*given) for given in ((1, 1, 1), (1, 0, 1), (1, 0, 0), (0, 0, 0)))
        return 4 * (tia - ta) + 7.5 * (ta - t) + 7.5 * (t - nothing) + nothing

    def ours() -> Tensor:
        velocities = passes.velocities(latents, timestep, tuple(weights))
        return torch.stack([weights[name] * velocity for name, velocity in velocities]).sum(0)

    expected, got = straightforward(), ours()
    error = float((got - expected).abs().max() / expected.abs().max())
    seconds: dict[str, list[float]] = {"straightforward": [], "ours": []}
    for _ in range(rounds):
        for name, step in (("straightforward", straightforward), ("ours", ours)):
            seconds[name].append(timed(step))
    plain, fast = (statistics.median(seconds[name]) for name in seconds)
    print(
        f"{tokens} tokens: straightforward {1000 * plain:.0f} ms, ours {1000 * fast:.0f} ms a step, "
        f"ratio {fast / plain:.2f}; largest difference {error:.1e} of the largest value",
        flush=True,
    )


def timed(step: Callable[[], Tensor]) -> float:
    """Processor seconds of this process: other work on the machine does not count."""
    began = time.process_time()
    step()
    return time.process_time() - began


if __name__ == "__main__":
    main()
