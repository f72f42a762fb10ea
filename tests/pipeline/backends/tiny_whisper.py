"""A Whisper with random weights and a byte for a token, made offline, in the layout that faster-whisper loads."""

import json
from pathlib import Path

import ctranslate2
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

LANGUAGES = ("en", "de", "ja")
TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")


def make_whisper(folder: Path) -> Path:
    """The same weights every time. Returns `folder / "whisper"`."""
    raw, made = folder / "raw", folder / "whisper"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    named = ["endoftext", "startoftranscript", *LANGUAGES, *TASKS]
    times = [f"{step / 50:.2f}" for step in range(1501)]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in named])
    tokenizer.add_tokens([AddedToken(f"<|{time}|>", special=False) for time in times])
    end = tokenizer.token_to_id("<|endoftext|>")
    start = tokenizer.token_to_id("<|startoftranscript|>")
    torch.manual_seed(3)
    config = WhisperConfig(
        vocab_size=tokenizer.get_vocab_size(),
        num_mel_bins=80,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config.alignment_heads = [[0, 0], [1, 1]]
    model.save_pretrained(raw)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(raw)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(raw)
    ctranslate2.converters.TransformersConverter(str(raw)).convert(str(made), force=True)
    tokenizer.save(str(made / "tokenizer.json"))
    settings = json.loads((made / "config.json").read_text())
    settings |= {
        "lang_ids": [tokenizer.token_to_id(f"<|{code}|>") for code in LANGUAGES],
        "alignment_heads": [[0, 0], [1, 1]],
        "suppress_ids": [],
        "suppress_ids_begin": [],
    }
    (made / "config.json").write_text(json.dumps(settings))
    return made
