"""The seeded stand-ins: same contracts as the real encoders, same numbers everywhere, enough to learn from."""

import json
from pathlib import Path

import av
import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from humo.encoders import SAMPLE_RATE
from humo.mini.audio import MelAudioEncoder, mel_filters
from humo.mini.codec import FIRST, GROUP, LinearCodec, cosine_basis
from humo.mini.text import HashedTextEncoder
from schemas.errors import UserError


def tone(hertz: float, seconds: float = 1.0, loudness: float = 0.3) -> numpy.ndarray:
    times = numpy.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (loudness * numpy.sin(2 * numpy.pi * hertz * times)).astype(numpy.float32)


def likeness(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def test_text_features_are_the_same_everywhere() -> None:
    # As computed in another process: a change makes every trained mini model deaf to its texts.
    features = HashedTextEncoder().encode(["A woman, smiling"])[0]
    assert features.double().sum().item() == pytest.approx(-21.9452026, abs=1e-5)
    assert features[0, :3].tolist() == pytest.approx([-0.0586223, 0.8053238, 1.1330307], abs=1e-6)


def test_text_shapes_and_padding() -> None:
    encoder = HashedTextEncoder(width=16, length=4)
    features = encoder.encode(["one two three", "one", "", "a b c d e f"])
    assert features.shape == (4, 4, 16)
    assert features[1, 1:].eq(0).all()
    assert features[2].eq(0).all()
    assert encoder.encode([""]).shape == (1, 1, 16)
    assert torch.equal(features[0, :1], features[1, :1])


def test_alike_words_are_alike_and_others_are_not() -> None:
    encoder = HashedTextEncoder(width=512)
    smile, smiles, frowns, smile_comma = (encoder.encode([w])[0, 0] for w in ("smile", "smiles", "frowns", "Smile,"))
    assert torch.equal(smile, smile_comma)
    assert 0.05 < likeness(smile, smiles) < 0.6
    assert likeness(smile, frowns) < 0.15
    assert smile.var() == pytest.approx(1, abs=0.2)


def test_audio_features_have_whispers_form_and_about_unit_variance() -> None:
    rng = numpy.random.default_rng(0)
    pink = numpy.cumsum(rng.standard_normal(4 * SAMPLE_RATE)).astype(numpy.float32)
    speech_like = 0.1 * (pink - numpy.convolve(pink, numpy.ones(200) / 200, "same")).astype(numpy.float32)
    loudness = (0.05 + numpy.abs(numpy.sin(numpy.arange(len(speech_like)) / 2500))).astype(numpy.float32)
    features = MelAudioEncoder(width=24).encode(speech_like * loudness, 100)
    assert features.shape == (100, 5, 24)
    assert features.dtype == torch.float32
    assert 0.5 < features.std() < 2
    assert features.mean().abs() < 1


def test_audio_carries_loudness_in_every_group() -> None:
    encoder = MelAudioEncoder()
    levels = [encoder.encode(tone(300, loudness=level), 25).mean((0, 2)) for level in (0.001, 0.02, 0.4)]
    assert (levels[0] < levels[1]).all()
    assert (levels[1] < levels[2]).all()


def test_audio_tells_vowels_apart_at_equal_loudness() -> None:
    encoder = MelAudioEncoder()
    ah = encoder.encode(tone(750) + tone(1200), 25)
    ee = encoder.encode(tone(300) + tone(2300), 25)
    for group in range(5):
        assert likeness(ah[:, group] - ah[:, group].mean(), ee[:, group] - ee[:, group].mean()) < 0.8


def test_audio_is_in_time() -> None:
    waveform = numpy.concatenate([numpy.zeros(10 * 640, numpy.float32), tone(400)])
    energy = MelAudioEncoder().encode(waveform, 35)[:, 0].mean(1)
    assert energy[:9].max() < energy[12:34].min()


@pytest.mark.parametrize(("samples", "frames", "heard"), [(0, 5, 0), (639, 5, 0), (6400, 25, 10), (16000, 3, 3)])
def test_audio_rows_past_the_sound_are_zeros(samples: int, frames: int, heard: int) -> None:
    features = MelAudioEncoder().encode(tone(400)[:samples], frames)
    assert features.shape[0] == frames
    assert features[heard:].eq(0).all()
    assert features[:heard].abs().sum(-1).gt(0).all()


def test_mel_filters_cover_the_spectrum() -> None:
    filters = mel_filters(24)
    assert torch.allclose(filters.sum(1), torch.ones(24))
    assert filters.argmax(1).diff().ge(1).all()


def test_codec_bases_are_orthonormal() -> None:
    codec = LinearCodec()
    for basis in (codec.first_basis, codec.group_basis):
        rows = basis.flatten(1)
        assert torch.allclose(rows @ rows.T, torch.eye(16), atol=1e-6)
    assert torch.allclose(cosine_basis(8) @ cosine_basis(8).T, torch.eye(8, dtype=torch.float64), atol=1e-12)


def test_codec_keeps_the_named_coefficients() -> None:
    luma_still = {(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 3), (3, 0)}
    assert {(v, u) for c, t, v, u in GROUP if (c, t) == (0, 0)} == luma_still
    assert {(v, u) for c, t, v, u in GROUP if (c, t) == (0, 1)} == {(0, 0), (0, 1), (1, 0)}
    assert sorted((c, t) for c, t, *_ in GROUP if c or t > 1) == [(0, 2), (0, 3), (1, 0), (1, 1), (2, 0)]
    assert sum(c == 0 for c, *_ in FIRST) == 12
    assert GROUP[:10] == FIRST[:10]


@given(groups=st.integers(0, 4), rows=st.integers(1, 4), columns=st.integers(1, 4), batch=st.integers(1, 2))
def test_codec_shapes(groups: int, rows: int, columns: int, batch: int) -> None:
    codec = LinearCodec()
    video = torch.rand(batch, 3, 4 * groups + 1, 8 * rows, 8 * columns) * 2 - 1
    latents = codec.encode(video)
    assert latents.shape == (batch, 16, groups + 1, rows, columns)
    decoded = codec.decode(latents)
    assert decoded.shape == video.shape
    # What decoding shows is exactly what the latents hold, where nothing was clipped.
    if decoded.abs().max() < 1:
        assert torch.allclose(codec.encode(decoded), latents, atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 16, 16), (6, 16, 16), (5, 12, 16), (5, 16, 20)])
def test_codec_refuses_what_it_cannot_hold(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="4n"):
        LinearCodec().encode(torch.zeros(1, 3, *shape))


def test_codec_first_frame_stands_alone_and_groups_do_not_mix() -> None:
    codec = LinearCodec()
    video = torch.rand(1, 3, 9, 16, 16)
    changed = video.clone()
    changed[:, :, 5:] = 0
    before, after = codec.encode(video), codec.encode(changed)
    assert torch.equal(before[:, :, :2], after[:, :, :2])
    assert torch.equal(before[:, :, :1], codec.encode(video[:, :, :1]))


def test_codec_shows_a_still_alike_in_every_latent_frame() -> None:
    picture = torch.rand(1, 3, 1, 16, 16)
    latents = LinearCodec().encode(picture.expand(-1, -1, 9, -1, -1))
    assert torch.allclose(latents[:, :10, 0], latents[:, :10, 1], atol=1e-5)
    assert torch.allclose(latents[:, 10:, 1], torch.zeros_like(latents[:, 10:, 1]), atol=1e-5)


def test_codec_shows_smooth_motion_well() -> None:
    ys, xs = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 160), indexing="ij")
    frames = [
        torch.stack((torch.sin(6 * xs + 0.05 * t), torch.cos(5 * ys - 0.05 * t), xs * ys - 0.5)) for t in range(17)
    ]
    video = 0.8 * torch.stack(frames, 1)[None]
    codec = LinearCodec()
    latents = codec.encode(video)
    # Peak to peak is 2, so the peak signal is 4.
    psnr = 10 * torch.log10(4 / (codec.decode(latents) - video).square().mean())
    assert psnr > 33
    assert 0.3 < latents.std() < 2


@pytest.mark.parametrize("encoder", [HashedTextEncoder(seed=4, width=8, length=5), MelAudioEncoder(seed=4, width=8)])
def test_encoders_come_back_from_their_folders(encoder: HashedTextEncoder | MelAudioEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    again = type(encoder).load(tmp_path, torch.device("cpu"), torch.float32)
    if isinstance(encoder, HashedTextEncoder):
        assert torch.equal(again.encode(["a b c"]), encoder.encode(["a b c"]))
    else:
        assert torch.equal(again.encode(tone(300), 25), encoder.encode(tone(300), 25))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "does not exist"),
        ("not json", "Invalid JSON"),
        (json.dumps({"encoder": "LinearCodec"}), "is of a LinearCodec"),
        (json.dumps({"encoder": "HashedTextEncoder", "width": 0}), "width"),
        (json.dumps({"encoder": "HashedTextEncoder", "surprise": 1}), "surprise"),
    ],
)
def test_a_strange_encoder_folder_is_refused(content: str | None, complaint: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=complaint):
        HashedTextEncoder.load(tmp_path, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("name", ["LatentSync_demo1_video.mp4", "LivePortrait_d18.mp4"])
def test_codec_on_real_footage(footage: Path, name: str) -> None:
    with av.open(str(footage / "video" / name)) as container:
        decoded = zip(container.decode(video=0), range(17), strict=False)
        frames = [frame.to_ndarray(width=160, height=96, format="rgb24") for frame, _ in decoded]
    video = torch.from_numpy(numpy.stack(frames)).permute(3, 0, 1, 2)[None] / 127.5 - 1
    codec = LinearCodec()
    psnr = 10 * torch.log10(4 / (codec.decode(codec.encode(video)) - video).square().mean())
    assert psnr > 22
