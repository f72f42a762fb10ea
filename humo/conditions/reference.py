"""Reference images: fitted into the frame, encoded one by one, laid side by side on the time axis."""

from collections.abc import Sequence

import numpy
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from humo.encoders import VideoCodec
from humo.transformer import Form

WHITE = (255, 255, 255)


def fit_reference(image_hwc: NDArray[numpy.uint8], height: int, width: int) -> NDArray[numpy.uint8]:
    """The whole image, scaled (Lanczos) to touch the frame's nearer edges and centred on white (official code).

    The scaled size truncates by `int()`. An image so narrow that it would vanish keeps one pixel.

    Args:
        image_hwc: RGB, any size.
        height: of the frame, pixels.
        width: of the frame, pixels.

    Returns:
        (height, width, 3) RGB.
    """
    image = Image.fromarray(image_hwc)
    ratio = image.width / image.height
    wider = ratio > width / height
    fitted = (width, max(1, int(width / ratio))) if wider else (max(1, int(height * ratio)), height)
    frame = Image.new("RGB", (width, height), WHITE)
    frame.paste(image.resize(fitted, Image.Resampling.LANCZOS), ((width - fitted[0]) // 2, (height - fitted[1]) // 2))
    return numpy.asarray(frame)


def encode_references(codec: VideoCodec, images_hwc: Sequence[NDArray[numpy.uint8]]) -> Tensor:
    """Latents (channels, R, height / 8, width / 8) of R >= 1 images of the frame's size, each encoded alone."""
    pixels_rhwc = torch.from_numpy(numpy.stack(images_hwc)).float() / 127.5 - 1
    latents_rcthw = codec.encode(pixels_rhwc.permute(0, 3, 1, 2)[:, :, None])
    return latents_rcthw[:, :, 0].transpose(0, 1)


def zero_condition(codec: VideoCodec, *, frames: int, height: int, width: int) -> Tensor:
    """Latents of a mid-grey video, (channels, latent frames, height / 8, width / 8).

    The official code ships such latents as files (`zero_vae`); they are most likely just this encoding.
    """
    return codec.encode(torch.zeros(1, 3, frames, height, width))[0]


def extend_zero_condition(zero_bcthw: Tensor, frames: int) -> Tensor:
    """Cut or lengthen to `frames` latent frames, repeating the last: all frames from the third on are alike."""
    missing = frames - zero_bcthw.shape[2]
    if missing <= 0:
        return zero_bcthw[:, :, :frames]
    return torch.cat((zero_bcthw, zero_bcthw[:, :, -1:].expand(-1, -1, missing, -1, -1)), dim=2)


def null_reference(reference_bcrhw: Tensor, *, form: Form, zero_condition_bcthw: Tensor | None) -> Tensor:
    """What stands in the reference slots for "no image" (official code), in the shape of `reference_bcrhw`.

    Zeros in the form `overwrite`; in the form `channels` the last R frames of a zero condition that covers the T video
    frames and the R references.
    """
    if form == "overwrite":
        return torch.zeros_like(reference_bcrhw)
    if zero_condition_bcthw is None:
        raise ValueError("the form 'channels' needs a zero condition")
    return zero_condition_bcthw[:, :, -reference_bcrhw.shape[2] :].expand_as(reference_bcrhw)
