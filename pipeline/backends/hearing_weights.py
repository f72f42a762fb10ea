"""Weights of what listens, Whisper and SyncNet. Apart from their networks, so that naming them is cheap."""

from pipeline.weights.weight import Weight, WeightFile, hub_files

SYNCNET_FILE = "syncnet_v2.model"
SYNCNET_URL = f"http://www.robots.ox.ac.uk/~vgg/software/lipsync/data/{SYNCNET_FILE}"

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
    Weight(
        name="syncnet-v2",
        source="https://www.robots.ox.ac.uk/~vgg/software/lipsync/",
        licence="not stated",
        licence_note="by the Visual Geometry Group, Oxford, whose code is MIT",
        files=(
            WeightFile(
                path=SYNCNET_FILE,
                url=SYNCNET_URL,
                sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
            ),
        ),
    ),
)
