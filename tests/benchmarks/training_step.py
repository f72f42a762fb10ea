"""Time of a training step beside diffusers' Wan transformer: `python -m tests.benchmarks.training_step`.

Both train self-attention alone, as the paper's stage 1 does: the same weights' shapes, tokens, text, loss of the
velocity, AdamW and clipping. HuMo's stage 2 (audio layers, mask predictor and their loss) stands beneath. The sides
take turns; printed are medians, tokens and operations a second (`training.flops`: what is computed twice counts once)
and their share of what a plain product of large matrices reaches in the same run, or of --peak-tflops.

On a GPU, the 1.7B at 480x832 and 97 frames in bfloat16, with the peak memory:
`python -m tests.benchmarks.training_step --full-size --compile --recompute block --peak-tflops 989`.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn
from torch.nn import functional

from humo.presets import HUMO_1_7B
from humo.transformer import HuMoTransformer
from training.config import Objective, Optimizer, Parallel, Stage
from training.encoding import Conditions, EncodedBatch
from training.flops import step_flops, tokens_of
from training.objective import losses, noisy_latents
from training.parallel import WHOLE_BLOCK, joined, spread
from training.plan import Bucket
from training.stages import make_optimizer, select

SUBJECT = Stage(steps=1, trains=["self_attention"], learning_rate=1e-5)
SYNC = Stage(steps=1, trains=["self_attention", "audio", "mask_predictor"], learning_rate=1e-5)
SMALL = Bucket(height=128, width=192, frames=17, references=1)
FULL = Bucket(height=480, width=832, frames=97, references=1)
OPTIMIZER = Optimizer()

Step = Callable[[], float]


def main() -> None:
    """Print a line a side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="compiled blocks, on all sides")
    parser.add_argument("--recompute", action="append", default=[], help="as parallel.recompute; `block` for Wan")
    parser.add_argument("--full-size", action="store_true", help="the 1.7B on a GPU")
    parser.add_argument("--peak-tflops", type=float, help="of the device in the precision used")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    bucket, parallel = SMALL, Parallel(recompute=tuple(given.recompute), compile=given.compile)
    sizes: dict[str, Any] = {
        "form": "overwrite",
        "width": given.width,
        "ffn": given.width * 35 // 6,
        "heads": given.width // 128,
        "layers": given.layers,
    }
    if given.full_size:
        sizes, bucket = HUMO_1_7B, FULL
    with joined(parallel, device="cuda" if given.full_size else "cpu") as world:
        peak = given.peak_tflops * 1e12 if given.peak_tflops else matrix_peak(world.device)
        with world.device:
            model = HuMoTransformer(**sizes)
            batch = draw(bucket, model)
            wan = wan_like(model)
        spread(model, parallel, world)
        if WHOLE_BLOCK in given.recompute:
            wan.enable_gradient_checkpointing()
        if given.compile:
            wan.compile_repeated_blocks()
        subject = step_flops(model, bucket, trains=SUBJECT.trains, with_audio=False)
        sync = step_flops(model, bucket, trains=SYNC.trains, with_audio=True)
        tokens = tokens_of(bucket)
        print(f"{sizes}, {tokens} tokens, {world.device}, {given.threads} threads, of {peak / 1e12:.3f} TFLOP/s")
        sides = {
            "diffusers' Wan, self-attention": (wan_step(wan, batch), subject),
            "HuMo, stage 1": (humo_step(model, batch, SUBJECT), subject),
            "HuMo, stage 2": (humo_step(model, batch, SYNC), sync),
        }
        compare(sides, tokens=tokens, rounds=given.rounds, peak=peak, device=world.device)


def compare(
    sides: Mapping[str, tuple[Step, float]], *, tokens: int, rounds: int, peak: float, device: torch.device
) -> None:
    """All in turns, after one step each that does not count."""
    for step, _ in sides.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    memory = dict.fromkeys(sides, 0)
    for _ in range(rounds):
        for name, (step, _) in sides.items():
            seconds[name].append(timed(step, device))
            if device.type == "cuda":
                memory[name] = torch.cuda.max_memory_allocated()
    first = statistics.median(next(iter(seconds.values())))
    print(f"{'':32}{'s a step':>9}{'ratio':>7}{'tokens/s':>10}{'TFLOP/s':>9}{'of the peak':>13}")
    for name, (_, flops) in sides.items():
        took = statistics.median(seconds[name])
        line = f"{name:32}{took:9.3f}{took / first:7.2f}{tokens / took:10.0f}{flops / took / 1e12:9.3f}"
        line += f"{100 * flops / took / peak:11.1f} %"
        print(line + (f"{memory[name] / 1e9:8.1f} GB" if memory[name] else ""), flush=True)


def draw(bucket: Bucket, model: HuMoTransformer) -> EncodedBatch:
    """Random tensors of the real shapes, one sample."""
    frames, rows, columns = (bucket.frames - 1) // 4 + 1, bucket.height // 8, bucket.width // 8
    face = torch.zeros(1, frames, rows // 2, columns // 2)
    face[:, :, : rows // 4, : columns // 4] = 1
    sizes = model.config
    return EncodedBatch(
        clean_bcthw=torch.randn(1, 16, frames, rows, columns),
        conditions=Conditions(
            text_bld=torch.randn(1, int(sizes["text_length"]), int(sizes["text_dim"])),
            audio_btwgc=torch.randn(1, frames, 8, int(sizes["audio_groups"]), int(sizes["audio_dim"])),
            reference_bcrhw=torch.randn(1, 16, 1, rows, columns),
            zero_bcthw=None,
        ),
        noise_bcthw=torch.randn(1, 16, frames + 1, rows, columns),
        time_b=torch.tensor([0.7]),
        face_mask_bthw=face,
        weight_b=torch.ones(1),
    )


def wan_like(model: HuMoTransformer) -> WanTransformer3DModel:
    """diffusers' transformer of the same sizes."""
    sizes = model.config
    heads = int(sizes["heads"])
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=heads,
        attention_head_dim=int(sizes["width"]) // heads,
        in_channels=16,
        out_channels=16,
        text_dim=int(sizes["text_dim"]),
        freq_dim=int(sizes["freq_dim"]),
        ffn_dim=int(sizes["ffn"]),
        num_layers=int(sizes["layers"]),
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
    )


def humo_step(model: HuMoTransformer, batch: EncodedBatch, stage: Stage) -> Step:
    """A step of this stage, as the trainer makes it. Its parameters are chosen anew: the stages share the model."""
    conditions = batch.conditions
    if stage is SUBJECT:
        silent = Conditions(conditions.text_bld, None, conditions.reference_bcrhw, None)
        batch = EncodedBatch(**{**vars(batch), "conditions": silent})
    objective = Objective(mask_weight=0.05 if stage is SYNC else 0)
    optimizer = make_optimizer(select(model, "", stage), OPTIMIZER, stage)

    def step() -> float:
        parameters = select(model, "", stage)
        with autocast(batch.time_b.device):
            total = losses(model, batch, objective).total
        return finish(total, parameters, optimizer)

    return step


def wan_step(wan: WanTransformer3DModel, batch: EncodedBatch) -> Step:
    """The same without what Wan does not have: one pass on the T + R noised latents."""
    wan.requires_grad_(False)
    parameters = {name: one for name, one in wan.named_parameters() if ".attn1." in name}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    optimizer = make_optimizer(parameters, OPTIMIZER, SUBJECT)
    frames = batch.clean_bcthw.shape[2]

    def step() -> float:
        for parameter in parameters.values():
            parameter.grad = None
        clean = torch.cat((batch.clean_bcthw, batch.conditions.reference_bcrhw), dim=2)
        with autocast(batch.time_b.device):
            velocity: Tensor = wan(
                hidden_states=noisy_latents(clean, batch.noise_bcthw, batch.time_b),
                timestep=batch.time_b * 1000,
                encoder_hidden_states=batch.conditions.text_bld,
                return_dict=False,
            )[0]
        target = (batch.noise_bcthw - clean)[:, :, :frames]
        return finish(functional.mse_loss(velocity[:, :, :frames].float(), target), parameters, optimizer)

    return step


def finish(total: Tensor, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> float:
    """Backward, clipping, update."""
    total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(parameters.values(), OPTIMIZER.clip_norm)
    optimizer.step()
    return float(total.detach())


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU, as the shipped configurations; a CPU computes in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda", cache_enabled=False)


def matrix_peak(device: torch.device) -> float:
    """Operations a second of a plain product of matrices, the best of ten."""
    side = 1024 if device.type == "cpu" else 8192
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    one = torch.randn(side, side, device=device, dtype=dtype)

    def product() -> float:
        return float((one @ one)[0, 0])

    product()
    return max(2 * side**3 / timed(product, device) for _ in range(10))


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
