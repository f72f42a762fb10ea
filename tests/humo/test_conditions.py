"""What the user gives, as the official code prepares it."""

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from humo.conditions.audio import audio_windows, group_hidden_states, null_audio
from humo.conditions.reference import (
    encode_references,
    extend_zero_condition,
    fit_reference,
    null_reference,
    zero_condition,
)
from humo.conditions.text import NEGATIVE_TEXT, clean_text
from humo.encoders import latent_frames
from humo.mini.codec import LinearCodec


def red(height: int, width: int) -> numpy.ndarray:
    return numpy.broadcast_to(numpy.array([200, 10, 20], numpy.uint8), (height, width, 3)).copy()


def covered(frame: numpy.ndarray) -> tuple[int, int, int, int]:
    """First and last row and column that are not white."""
    rows, columns = numpy.nonzero((frame != 255).any(-1))
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize(
    ("image", "frame", "expected"),
    [
        ((50, 100), (64, 64), (16, 47, 0, 63)),  # wider: touches left and right
        ((100, 50), (64, 64), (0, 63, 16, 47)),  # taller: touches top and bottom
        ((64, 64), (64, 96), (0, 63, 16, 79)),  # square into landscape
        ((30, 100), (64, 64), (22, 40, 0, 63)),  # 19.2 rows truncate to 19; the odd rest goes below
        ((1000, 3), (64, 64), (0, 63, 31, 31)),  # a sliver keeps one column
    ],
)
def test_a_reference_is_fitted_whole_and_centred_on_white(
    image: tuple[int, int], frame: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    fitted = fit_reference(red(*image), *frame)
    assert fitted.shape == (*frame, 3)
    assert covered(fitted) == expected
    inside = fitted[expected[0] : expected[1] + 1, expected[2] : expected[3] + 1]
    assert (inside == [200, 10, 20]).all()


def test_scaling_is_lanczos() -> None:
    levels = numpy.array([40, 40, 200, 200, 90, 90, 160, 160], float)
    image = numpy.broadcast_to(levels[None, :, None], (8, 8, 3)).astype(numpy.uint8)
    row = fit_reference(image, 16, 16)[8, :, 0]
    distance = (numpy.arange(16)[:, None] + 0.5) / 2 - 0.5 - numpy.arange(8)
    weights = numpy.where(numpy.abs(distance) < 3, numpy.sinc(distance) * numpy.sinc(distance / 3), 0)
    expected = (weights / weights.sum(1, keepdims=True)) @ levels
    assert numpy.abs(row - expected).max() <= 1
    assert row.min() < 40  # it rings


def test_an_image_of_the_frames_size_is_left_alone() -> None:
    image = numpy.random.default_rng(0).integers(0, 256, (48, 32, 3), numpy.uint8)
    assert numpy.array_equal(fit_reference(image, 48, 32), image)


def test_references_are_encoded_one_by_one() -> None:
    codec = LinearCodec()
    images = [red(32, 48), 255 - red(32, 48)]
    together = encode_references(codec, images)
    assert together.shape == (16, 2, 4, 6)
    assert torch.equal(together[:, :1], encode_references(codec, images[:1]))
    assert torch.equal(together[:, 1:], encode_references(codec, images[1:]))


def test_null_reference_is_zeros_or_the_zero_conditions_end() -> None:
    reference = torch.randn(2, 16, 2, 4, 6)
    zero = torch.randn(1, 16, 5, 4, 6)
    assert torch.equal(null_reference(reference, form="overwrite", zero_condition_bcthw=None), 0 * reference)
    null = null_reference(reference, form="channels", zero_condition_bcthw=zero)
    assert torch.equal(null, zero[:, :, 3:].expand(2, -1, -1, -1, -1))
    with pytest.raises(ValueError, match="zero condition"):
        null_reference(reference, form="channels", zero_condition_bcthw=None)


def test_zero_condition_is_grey_and_grows_by_its_last_frame() -> None:
    codec = LinearCodec()
    zero = zero_condition(codec, frames=9, height=32, width=48)
    assert zero.shape == (16, 3, 4, 6)
    assert codec.decode(zero[None]).abs().max() < 1e-5
    longer = extend_zero_condition(zero[None], 6)
    assert longer.shape[2] == 6
    assert torch.equal(longer[:, :, 3:], zero[None, :, 2:].expand(-1, -1, 3, -1, -1))
    assert torch.equal(extend_zero_condition(zero[None], 2), zero[None, :, :2])


def test_layer_groups_are_means_of_eight_and_the_last_alone() -> None:
    states = torch.arange(33.0).view(1, 33, 1).expand(8, 33, 2)
    features = group_hidden_states(states)
    assert features.shape == (4, 5, 2)
    assert features[0, :, 0].tolist() == [3.5, 11.5, 19.5, 27.5, 32.0]
    with pytest.raises(ValueError, match="32 hidden states"):
        group_hidden_states(states[:, :32])


def test_interpolation_keeps_the_first_and_the_last_instant() -> None:
    ramp = torch.arange(10.0).view(10, 1, 1).expand(10, 33, 1)
    features = group_hidden_states(ramp)[:, 4, 0]
    assert torch.allclose(features, torch.linspace(0, 9, 5))


def heard_frames(windows: torch.Tensor) -> list[list[int]]:
    """Which video frames each window holds, 0 for none; features must number the frames from 1."""
    return [[int(value) for value in window] for window in windows[:, :, 0, 0]]


def test_windows_of_each_latent_frame() -> None:
    numbered = torch.arange(1.0, 12).view(11, 1, 1)
    assert heard_frames(audio_windows(numbered, 4)) == [
        [0, 0, 0, 0, 0, 1, 2, 3],
        [0, 1, 2, 3, 4, 5, 6, 7],
        [4, 5, 6, 7, 8, 9, 10, 11],
        [8, 9, 10, 11, 0, 0, 0, 0],
    ]


@given(frames=st.integers(0, 40), latents=st.integers(1, 12))
def test_every_window_holds_the_frames_around_its_latent(frames: int, latents: int) -> None:
    numbered = torch.arange(1.0, frames + 1).view(frames, 1, 1)
    for latent, heard in enumerate(heard_frames(audio_windows(numbered, latents))):
        wanted = range(-2, 3) if latent == 0 else range(4 * latent - 5, 4 * latent + 3)
        inside = [frame + 1 if 0 <= frame < frames else 0 for frame in wanted]
        assert heard == [0] * (8 - len(inside)) + inside


def test_null_audio_is_zeros() -> None:
    windows = torch.randn(3, 8, 5, 2)
    assert torch.equal(null_audio(windows), torch.zeros(3, 8, 5, 2))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  a  woman\n speaks ", "a woman speaks"),
        ("salt &amp;amp; pepper", "salt & pepper"),
        ("â€œyesâ€\x9d", '"yes"'),
    ],
)
def test_text_is_cleaned(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_negative_text_survives_its_cleaning_but_for_wide_commas() -> None:
    assert clean_text(NEGATIVE_TEXT) == NEGATIVE_TEXT.replace("，", ",")  # noqa: RUF001
    assert len(NEGATIVE_TEXT.split("，")) == 28  # noqa: RUF001


@given(st.integers(-3, 200))
def test_only_4n_plus_1_frames_have_latents(frames: int) -> None:
    if frames > 0 and frames % 4 == 1:
        assert 4 * (latent_frames(frames) - 1) + 1 == frames
    else:
        with pytest.raises(ValueError, match="4n"):
            latent_frames(frames)
