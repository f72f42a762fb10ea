"""Weights of Whisper, for either recogniser."""

from pipeline.weights.weight import Weight, hub_files

WEIGHTS = (
    Weight(
        name="faster-whisper-large-v3",
        source="https://huggingface.co/Systran/faster-whisper-large-v3",
        licence="MIT",
        files=hub_files(
            "Systran/faster-whisper-large-v3",
            "edaa852ec7e145841d8ffdb056a99866b5f0a478",
            "config.json",
            "preprocessor_config.json",
            "tokenizer.json",
            "vocabulary.json",
            "model.bin",
        ),
    ),
)
