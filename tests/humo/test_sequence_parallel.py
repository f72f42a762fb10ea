"""Several real processes give what one gives."""

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy
import pytest
import torch
from numpy.typing import NDArray
from torch import distributed as dist

from humo.attention import within_frames
from humo.generation import sample
from humo.guidance import official_17b
from humo.offload import streamed
from humo.residual_cache import Reuse
from humo.sequence_parallel import sequence_split
from humo.transformer import HuMoTransformer
from schemas.command_line import run
from schemas.errors import UserError
from tests.ranks import run_ranks

SIZES = [(3, 6, 10), (2, 4, 4), (1, 2, 2)]
"""Video latent frames, rows and columns; with one reference 60, 12 and 2 tokens, that divide by 2 processes but not by
whole frames, and not by 3."""


def tiny(form: str) -> HuMoTransformer:
    torch.manual_seed(0)
    model = HuMoTransformer(
        form=form, width=24, ffn=40, heads=3, layers=3, text_dim=8, text_length=5, audio_dim=4, audio_tokens=2
    )
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    return model.eval()


@torch.no_grad()
def compare(processes: int) -> None:
    """In each process: the split model beside the whole one."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    assert dist.group.WORLD is not None
    for form in ("overwrite", "channels"):
        model = tiny(form)
        for frames, rows, columns in SIZES:
            draw = torch.Generator().manual_seed(1)
            noise = torch.randn(2, 16, frames + 1, rows, columns, generator=draw)
            text, negative = torch.randn(2, 2, 4, 8, generator=draw)
            windows = torch.randn(2, frames, 8, 5, 4, generator=draw)
            reference = torch.randn(2, 16, 1, rows, columns, generator=draw)
            zero = torch.randn(1, 16, frames + 1, rows, columns, generator=draw) if form == "channels" else None
            conditions = {
                "timestep_b": torch.tensor([500.0]),
                "text_bld": text,
                "audio_windows_btwgc": windows,
                "reference_bcrhw": reference,
                "zero_condition_bcthw": None if zero is None else zero.expand(2, -1, -1, -1, -1),
            }
            expected = model(noise, **conditions).velocity_bcthw
            with sequence_split(model, dist.group.WORLD):
                # What the other processes hold does not count.
                own = noise if rank == 0 else torch.zeros_like(noise)
                got = model(own, **conditions).velocity_bcthw
            assert error(got, expected) < 1e-6, (form, frames, error(got, expected))
            if (frames, rows, columns) != SIZES[0]:
                continue
            options = {
                "noise": noise,
                "text": text,
                "text_negative": negative,
                "audio_windows": windows,
                "reference": reference,
                "zero_condition": zero,
                "mode": "TIA",
                "steps": 4,
                "shift": 20.0,
                "guidance": official_17b(),
            }
            expected_sample = sample(model, **options)
            alone, shared = Reuse(threshold=1e9), Reuse(threshold=1e9)
            expected_reused = sample(model, **options, reuse=alone)
            with streamed(model, model.blocks, torch.device("cpu")), sequence_split(model, dist.group.WORLD):
                got_reused = sample(model, **options, reuse=shared)
            assert error(got_reused, expected_reused) < 1e-5
            assert shared.reused == alone.reused > 0
            with sequence_split(model, dist.group.WORLD):
                got_sample = sample(model, **options)
            assert error(got_sample, expected_sample) < 1e-5, (form, error(got_sample, expected_sample))
            assert torch.equal(model(noise, **conditions).velocity_bcthw, expected)
    expected_mask = model(noise, **conditions, return_mask_logits=True).mask_logits_bthw
    with sequence_split(model, dist.group.WORLD):
        mask = model(noise, **conditions, return_mask_logits=True).mask_logits_bthw
    assert error(mask, expected_mask) < 1e-6
    if processes == 3:
        few = noise[..., :2, :2][:, :, :2], {**conditions, "reference_bcrhw": reference[..., :2, :2]}
        zero = few[1]["zero_condition_bcthw"][..., :2, :2]
        few[1].update(audio_windows_btwgc=windows[:, :1], zero_condition_bcthw=zero)
        refused = pytest.raises(UserError, match="2 tokens do not go round 3 processes")
        with torch.enable_grad(), sequence_split(model, dist.group.WORLD), refused:
            model(few[0], **few[1])
    else:
        model.compile_repeated_blocks(backend="eager")
        with sequence_split(model, dist.group.WORLD):
            assert error(model(noise, **conditions).velocity_bcthw, expected) < 1e-6
    dist.destroy_process_group()


def error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("processes", [2, 3])
def test_split_over_processes_it_is_the_same(processes: int) -> None:
    run_ranks(processes, compare, processes)


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        model = tiny("overwrite")
        assert dist.group.WORLD is not None
        with sequence_split(model, dist.group.WORLD):
            assert model.blocks[0].audio_cross_attn_wrapper.audio_cross_attn.route is not within_frames
        assert model.blocks[0].audio_cross_attn_wrapper.audio_cross_attn.route is within_frames
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    finally:
        dist.destroy_process_group()


def test_torchrun_makes_one_video_with_all_its_processes(mini_directory: Path, tmp_path: Path) -> None:
    options = ["--text", "A man", "--frames", "9", "--steps", "2"]
    humo = Path(sys.executable).with_name("humo")
    command = ["generate", "--model", str(mini_directory), *options, "--out"]
    alone, together = tmp_path / "alone.mp4", tmp_path / "together.mp4"
    assert run([*command, str(alone)]) == 0
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", str(humo)]
    done = subprocess.run(
        [sys.executable, *torchrun, *command, str(together)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{together}: 9 frames of 64x64, 0.36 s\n"
    assert done.stderr.count("step 2 of 2") == 1
    difference = numpy.abs(frames_of(alone) - frames_of(together))
    assert difference.mean() < 0.1


def frames_of(path: Path) -> NDArray[numpy.float64]:
    with av.open(str(path)) as container:
        return numpy.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)
