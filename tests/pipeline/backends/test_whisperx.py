"""whisperx on tiny models, by the Python of an environment that has it: it cannot share this one's packages."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

from tests.pipeline.backends.tiny_whisper import make_whisper

PYTHON = os.environ.get("HUMO_WHISPERX_PYTHON")
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from pipeline.backends.whisperx_words import WhisperxWords
whisper, aligner = map(Path, sys.argv[1:])
words = WhisperxWords(whisper, {"en": aligner}, language="en")
wave = 0.2 * np.sin(np.arange(32000) / 20) * (1 + np.sin(np.arange(32000) / 600))
found = words.measure(wave.astype(np.float32), ((0.2, 1.8),))
print("RESULT" + json.dumps([found.language, found.text, len(found.words), found.log_probability, found.cause]))
"""


def _aligner(folder: Path) -> Path:
    """A CTC model with random weights that knows the letters."""
    folder.mkdir()
    signs = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"]
    (folder / "signs.json").write_text(json.dumps({sign: number for number, sign in enumerate(signs)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "signs.json"))
    Wav2Vec2Processor(feature_extractor=Wav2Vec2FeatureExtractor(), tokenizer=tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(signs), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


@pytest.mark.skipif(
    PYTHON is None,
    reason="whisperx 3.8.6 pins torch 2.8 and huggingface-hub < 1, which this environment cannot have: name the Python "
    "of one made by `pip install whisperx==3.8.6` (8 GB, most of it CUDA) in HUMO_WHISPERX_PYTHON",
)
def test_whisperx_runs_in_its_own_environment(tmp_path: Path) -> None:
    assert PYTHON is not None
    models = [str(make_whisper(tmp_path)), str(_aligner(tmp_path / "aligner"))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [PYTHON, "-c", SCRIPT, *models], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    language, text, words, log_probability, cause = json.loads(line.removeprefix("RESULT"))
    assert language == "en"
    assert log_probability < 0
    assert (words > 0) == bool(text)
    assert cause is None or isinstance(cause, str)
