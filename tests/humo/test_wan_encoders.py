"""The real encoders on tiny offline configurations, behind the same protocols as the mini ones."""

from pathlib import Path

import numpy
import torch

from humo.conditions.audio import group_hidden_states
from humo.wan import UMT5TextEncoder, WanCodec, WhisperAudioEncoder

CPU = torch.device("cpu")


def test_text_padding_is_masked_inside_and_zero_outside(umt5: UMT5TextEncoder) -> None:
    together = umt5.encode(["a woman speaks", "man"])
    alone = umt5.encode(["man"])
    assert together.shape == (2, 4, 32)
    assert together.dtype == torch.float32
    assert torch.allclose(together[1, :2], alone[0], atol=1e-6)
    assert together[1, 2:].eq(0).all()
    assert together[0].abs().sum(-1).gt(0).all()


def test_text_is_cut_at_512_tokens(umt5: UMT5TextEncoder) -> None:
    assert umt5.encode(["a " * 600]).shape == (1, 512, 32)


def test_vae_latents_are_normalised_posterior_means(wan: WanCodec) -> None:
    video = torch.rand(1, 3, 5, 16, 24) * 2 - 1
    latents = wan.encode(video)
    assert latents.shape == (1, 16, 2, 2, 3)
    assert torch.equal(latents, wan.encode(video))
    mean = torch.tensor(wan.model.config.latents_mean).view(1, 16, 1, 1, 1)
    std = torch.tensor(wan.model.config.latents_std).view(1, 16, 1, 1, 1)
    with torch.no_grad():
        raw = wan.model.encode(video).latent_dist.mean
        plain = wan.model.decode(raw).sample
    assert torch.allclose(latents, (raw - mean) / std, atol=1e-6)
    decoded = wan.decode(latents)
    assert decoded.shape == video.shape
    assert torch.allclose(decoded, plain.clamp(-1, 1), atol=1e-5)


def test_whisper_states_are_grouped_and_cut_to_the_sound(whisper: WhisperAudioEncoder) -> None:
    waveform = (0.1 * numpy.random.default_rng(0).standard_normal(10 * 640 + 100)).astype(numpy.float32)
    features = whisper.encode(waveform, 12)
    assert features.shape == (12, 5, 8)
    assert features[10:].eq(0).all()
    mel = whisper.extractor(waveform, sampling_rate=16000, return_tensors="pt").input_features
    with torch.no_grad():
        output = whisper.model.encoder(mel, output_hidden_states=True)
    states = torch.stack(output.hidden_states, 2)[0]
    assert states.shape == (1500, 33, 8)
    # The last state is the one after the encoder's final norm.
    assert torch.equal(states[:, 32], output.last_hidden_state[0])
    assert torch.allclose(features[:10], group_hidden_states(states[:20]), atol=1e-6)


def test_whisper_hears_long_speech_chunk_by_chunk(whisper: WhisperAudioEncoder) -> None:
    waveform = (0.1 * numpy.random.default_rng(0).standard_normal(31 * 16000)).astype(numpy.float32)
    features = whisper.encode(waveform, 31 * 25)
    assert features.shape == (775, 5, 8)
    assert features.abs().sum((1, 2)).gt(0).all()
    first_chunk = whisper.encode(waveform[: 30 * 16000], 750)
    # Interpolation shifts instants by under one frame, so only the beginning agrees closely.
    assert torch.allclose(features[0], first_chunk[0], atol=1e-5)


def test_silence_of_no_length_has_zero_features(whisper: WhisperAudioEncoder) -> None:
    assert torch.equal(whisper.encode(numpy.zeros(0, numpy.float32), 3), torch.zeros(3, 5, 8))


def test_encoders_come_back_from_their_folders(
    umt5: UMT5TextEncoder, wan: WanCodec, whisper: WhisperAudioEncoder, tmp_path: Path
) -> None:
    for name, encoder in (("text", umt5), ("vae", wan), ("audio", whisper)):
        encoder.save(tmp_path / name)
    text = UMT5TextEncoder.load(tmp_path / "text", CPU, torch.float32)
    vae = WanCodec.load(tmp_path / "vae", CPU, torch.float32)
    audio = WhisperAudioEncoder.load(tmp_path / "audio", CPU, torch.float32)
    assert torch.allclose(text.encode(["a man speaks"]), umt5.encode(["a man speaks"]), atol=1e-6)
    video, waveform = torch.rand(1, 3, 1, 16, 16), numpy.ones(1280, numpy.float32)
    assert torch.allclose(vae.encode(video), wan.encode(video), atol=1e-6)
    assert torch.allclose(audio.encode(waveform, 2), whisper.encode(waveform, 2), atol=1e-6)
