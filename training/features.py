"""What the frozen encoders made of a sample, stored in shards of its own: the format that `humo encode` writes.

    KEY.features.safetensors   starts (W,), video (W, 16, T, h, w), mask (W, T, h / 2, w / 2), in the sync tier audio
                               (W, F, 5, channels); reference (V, 16, R, h, w), text (tokens, channels)
    KEY.flac                   in the sync tier, as it was
    KEY.txt                    as it was
    nulls.safetensors          beside the manifest: the empty text, and the zero conditions of the form `channels`
    recipe.json                beside the manifest: what all this was made from and how

W windows of a clip longer than a training window, V variants of its references, the first as it is. Training takes the
window nearest to the one it draws, and any variant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from schemas.errors import UserError
from schemas.sample import SAMPLES_PER_FRAME
from training.batch import FeatureBatch
from training.dataset import ShardSet
from training.decode import decode_audio
from training.framing import LATENT_FRAMES, TOKEN_PIXELS
from training.plan import Bucket, Slot
from training.samples import DamagedSample, read_members
from training.windows import Waveform, silence, stacked

FEATURES = "features.safetensors"
NULLS = "nulls.safetensors"
RECIPE = "recipe.json"
NULL_TEXT = "text"


@dataclass(frozen=True)
class Features:
    """One slot's window and variant."""

    text_ld: Tensor
    latents_cthw: Tensor
    audio_fgc: Tensor | None
    reference_crhw: Tensor
    face_mask_thw: Tensor
    waveform_s: Waveform


def member_extensions(tier: str) -> list[str]:
    """The members of an encoded sample."""
    return [FEATURES, *(["flac"] if tier == "sync" else []), "txt"]


def null_name(frames: int, height: int, width: int) -> str:
    """Of the zero condition for so many frames and references (4 frames each) among the nulls."""
    return f"zero.{frames}x{height}x{width}"


def read_features(shards: ShardSet, slot: Slot, *, variant: float) -> Features:
    """The slot's features; `variant` in [0, 1) chooses among those of the references. Raises DamagedSample."""
    members = read_members(shards.address(slot.row.shard), slot.row, member_extensions(slot.row.tier))
    try:
        stored = safetensors.torch.load(members[FEATURES])
    except (SafetensorError, ValueError) as error:
        raise DamagedSample(f"the features cannot be read: {error}") from error
    _check(stored, slot)
    window = int((stored["starts"] - slot.first_frame).abs().argmin())
    start = int(stored["starts"][window])
    speaks = slot.task == "sync"
    mask = stored["mask"][window].bool()
    waveform = silence(slot.bucket)
    if speaks:
        heard = decode_audio(members["flac"], frames=slot.row.frames)
        waveform = heard[start * SAMPLES_PER_FRAME :][: slot.bucket.frames * SAMPLES_PER_FRAME]
    return Features(
        text_ld=stored["text"].float(),
        latents_cthw=stored["video"][window].float(),
        audio_fgc=stored["audio"][window].float() if speaks else None,
        reference_crhw=stored["reference"][int(variant * len(stored["reference"]))].float(),
        face_mask_thw=mask if speaks else torch.zeros_like(mask),
        waveform_s=waveform,
    )


def empty_features(slot: Slot) -> Features:
    """What stands in a damaged sample's place."""
    bucket = slot.bucket
    latents = _latents(bucket)
    mask = torch.zeros(latents[1], bucket.height // TOKEN_PIXELS, bucket.width // TOKEN_PIXELS, dtype=torch.bool)
    reference = torch.zeros(latents[0], bucket.references, *latents[2:])
    return Features(torch.zeros(1, 1), torch.zeros(latents), None, reference, mask, silence(bucket))


def feature_batch(items: Sequence[Features], common: dict[str, Any]) -> FeatureBatch:
    """Features of one bucket, and what every batch has besides them."""
    shapes = [item.audio_fgc.shape for item in items if item.audio_fgc is not None]
    silent = torch.zeros(shapes[0] if shapes else (0, 1, 1))
    width = max(item.text_ld.shape[1] for item in items)
    return FeatureBatch(
        texts_bld=tuple(item.text_ld if item.text_ld.shape[1] == width else torch.zeros(1, width) for item in items),
        latents_bcthw=torch.stack([item.latents_cthw for item in items]),
        audio_bfgc=torch.stack([silent if item.audio_fgc is None else item.audio_fgc for item in items]),
        reference_bcrhw=torch.stack([item.reference_crhw for item in items]),
        face_mask_bthw=torch.stack([item.face_mask_thw for item in items]),
        waveform_bs=stacked([item.waveform_s for item in items]),
        **common,
    )


def read_nulls(shards: ShardSet) -> dict[str, Tensor]:
    """The empty text and the zero conditions. Raises UserError if they are not there."""
    address = f"{shards.folder}/{NULLS}"
    try:
        with fsspec.open(address, "rb") as file:
            return {name: value.float() for name, value in safetensors.torch.load(file.read()).items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{address} cannot be read: {error}. Encode anew") from error


def _latents(bucket: Bucket) -> tuple[int, int, int, int]:
    frames = (bucket.frames - 1) // LATENT_FRAMES + 1
    return 16, frames, bucket.height // 8, bucket.width // 8


def _check(stored: dict[str, Tensor], slot: Slot) -> None:
    """Raise DamagedSample unless the tensors are those of the slot's bucket."""
    channels, frames, height, width = _latents(slot.bucket)
    wanted = {
        "video": (channels, frames, height, width),
        "reference": (channels, slot.bucket.references, height, width),
        "mask": (frames, height // 2, width // 2),
        "starts": (),
    }
    if slot.row.tier == "sync":
        wanted["audio"] = (slot.bucket.frames,)
    for name, shape in wanted.items():
        if name not in stored or tuple(stored[name].shape[1 : 1 + len(shape)]) != shape or not len(stored[name]):
            found = tuple(stored[name].shape) if name in stored else "not there"
            raise DamagedSample(f"the features' {name} is {found}, not one or more of {shape}")
    if stored.get("text", torch.zeros(0)).ndim != 2:
        raise DamagedSample("the features have no text")
