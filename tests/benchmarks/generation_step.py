"""Time of a guided sampling step, each measure alone and all together: `python tests/benchmarks/generation_step.py`.

The straightforward step is the official one: four passes (TIA, TA, T, 0) one at a time, in each of them text and audio
embedded, their keys and values, the rotary table and the modulation computed anew. All sides run the same random
weights, inputs and threads in turns; printed are medians, their ratio to the straightforward step and the largest
difference of the guided velocities. On a GPU also the peak memory and, with --peak-tflops, the share of that peak:
`python tests/benchmarks/generation_step.py --full-size --compile --peak-tflops 989`.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from humo.guidance import Pass, official_1_7b
from humo.passes import Choice, Passes
from humo.presets import HUMO_1_7B
from humo.residual_cache import Reuse
from humo.transformer import KEPT_IN_FLOAT32, HuMoTransformer, Memory

SHAPES = {300: (5, 12, 20), 2048: (8, 32, 32), 40560: (26, 60, 104)}
"""Latent frames with one reference, rows and columns, by tokens; the last is 480x832 at 97 frames."""
TIMESTEP = 700.0
OFFICIAL: dict[Pass, float] = {"TIA": 4.0, "TA": 3.5, "T": 0.0, "0": -6.5}
"""4 (TIA - TA) + 7.5 (TA - T) + 7.5 (T - 0) + 0: the official code makes the pass T, though it cancels."""
NEEDED: Mapping[Pass, float] = official_1_7b().weights("TIA", TIMESTEP)

Step = Callable[[], Tensor]


@dataclass(frozen=True)
class Inputs:
    """Of one size."""

    latents: Tensor
    timestep: Tensor
    texts: Choice
    audios: Choice
    references: Choice


def main() -> None:
    """Print a table a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[300, 2048], choices=SHAPES)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=4, help="passes in a batch")
    parser.add_argument("--compile", action="store_true", help="compiled blocks too; on a CPU this takes minutes")
    parser.add_argument("--full-size", action="store_true", help="the 1.7B in bfloat16 at 40,560 tokens on a GPU")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU, for the share of it that is used")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    heads, ffn = options.width // 128, options.width * 35 // 6
    sizes = {"form": "overwrite", "width": options.width, "ffn": ffn, "heads": heads, "layers": options.layers}
    device, dtype = torch.device("cpu"), torch.float32
    if options.full_size:
        sizes, device, dtype, options.tokens = HUMO_1_7B, torch.device("cuda"), torch.bfloat16, [40560]
    with device:
        model = HuMoTransformer(**sizes).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(("head.head.weight", "audio_cross_attn.o.weight")):
            torch.nn.init.normal_(parameter, std=0.02)
        if not any(part in KEPT_IN_FLOAT32 for part in name.split(".")):
            parameter.data = parameter.data.to(dtype)
    print(f"{sizes}, {dtype}, {device}, {options.threads} threads, median of {options.rounds}")
    for tokens in options.tokens:
        compare(model, draw(tokens, device), tokens=tokens, options=options)


def draw(tokens: int, device: torch.device) -> Inputs:
    """Random conditions of the real shapes."""
    frames, rows, columns = SHAPES[tokens]

    def of(*shape: int) -> Tensor:
        return torch.randn(1, *shape, device=device)

    audio, reference = of(frames - 1, 8, 5, 1280), of(16, 1, rows, columns)
    return Inputs(
        latents=of(16, frames, rows, columns),
        timestep=torch.tensor(TIMESTEP, device=device),
        texts=Choice(of(80, 4096), of(80, 4096)),
        audios=Choice(audio, torch.zeros_like(audio)),
        references=Choice(reference, torch.zeros_like(reference)),
    )


@torch.no_grad()
def compare(model: HuMoTransformer, inputs: Inputs, *, tokens: int, options: argparse.Namespace) -> None:
    """All sides in turns at one size."""
    at_once: int = options.at_once
    steps = {
        "straightforward": step_of(model, inputs),
        "only the passes needed": step_of(model, inputs, weights=NEEDED),
        "passes stacked": step_of(model, inputs, at_once=at_once),
        "keys and values once": step_of(model, inputs, keep=("text", "audio")),
        "positions once": step_of(model, inputs, keep=("rotary",)),
        "together": together(model, inputs, at_once),
    }
    if options.compile:
        compiled = copy.deepcopy(model)
        compiled.compile_repeated_blocks(dynamic=False)  # type: ignore[no-untyped-call]
        steps["compiled"] = step_of(compiled, inputs)
        steps["together, compiled"] = together(compiled, inputs, at_once)
    steps["a reused step"] = together(model, inputs, at_once, Reuse(threshold=1e9))
    results = {name: step() for name, step in steps.items()}
    expected = results["straightforward"]
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    peaks: dict[str, int] = {}
    for _ in range(options.rounds):
        for name, step in steps.items():
            seconds[name].append(timed(step, inputs.latents.device))
            if inputs.latents.is_cuda:
                peaks[name] = torch.cuda.max_memory_allocated()
    plain = statistics.median(seconds["straightforward"])
    with FlopCounterMode(display=False) as counter:
        steps["only the passes needed"]()
    print(f"\n{tokens} tokens\n{'':24}{'ms a step':>10}{'ratio':>7}{'difference':>12}", flush=True)
    for name in steps:
        took = statistics.median(seconds[name])
        difference = float((results[name] - expected).abs().max() / expected.abs().max())
        line = f"{name:24}{1000 * took:10.0f}{took / plain:7.2f}"
        # A reused step stands for others; how far off it is depends on the sampling (humo.residual_cache).
        line += f"{'':12}" if name == "a reused step" else f"{difference:12.1e}"
        if peaks:
            line += f"{peaks[name] / 1e9:8.1f} GB"
        if options.peak_tflops and name != "a reused step":
            line += f"{counter.get_total_flops() / took / options.peak_tflops / 1e10:7.1f} % of the peak"
        print(line, flush=True)


def step_of(
    model: HuMoTransformer,
    inputs: Inputs,
    *,
    weights: Mapping[Pass, float] = OFFICIAL,
    at_once: int = 1,
    keep: tuple[str, ...] = (),
) -> Step:
    """A step with some of the measures: fewer passes, stacked passes, parts of the memory kept between steps."""
    names = list(weights)
    groups = [tuple(names[start : start + at_once]) for start in range(0, len(names), at_once)]
    kept: dict[tuple[Pass, ...], Memory] = {}

    def step() -> Tensor:
        total = torch.zeros_like(inputs.latents)
        for group in groups:
            known = kept.get(group, Memory())
            memory = Memory(**{part: getattr(known, part) for part in keep}) if keep else None
            worded, pictured, heard = ([letter in name for name in group] for letter in "TIA")
            velocity = model(
                inputs.latents.repeat(len(group), 1, 1, 1, 1),
                inputs.timestep[None],
                text_bld=inputs.texts.stack(worded),
                audio_windows_btwgc=inputs.audios.stack(heard),
                reference_bcrhw=inputs.references.stack(pictured),
                memory=memory,
            ).velocity_bcthw
            if memory is not None:
                kept[group] = memory
            for name, one in zip(group, velocity.chunk(len(group)), strict=True):
                total += weights[name] * one
        return total

    return step


def together(model: HuMoTransformer, inputs: Inputs, at_once: int, reuse: Reuse | None = None) -> Step:
    """The step as generation makes it."""
    passes = Passes(
        model,
        texts=inputs.texts,
        audios=inputs.audios,
        references=inputs.references,
        zero_condition=None,
        at_once=at_once,
        reuse=reuse,
    )

    def step() -> Tensor:
        velocities = passes.velocities(inputs.latents, inputs.timestep, tuple(NEEDED))
        return torch.stack([NEEDED[name] * velocity for name, velocity in velocities]).sum(0)

    return step


def timed(step: Step, device: torch.device) -> float:
    """Seconds; on a CPU those of this process, so that other work on the machine does not count."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        began = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - began
    began = time.process_time()
    step()
    return time.process_time() - began


if __name__ == "__main__":
    main()
