"""Every backend of the gpu profile on one page: which option chooses it, and what it needs.

`humo doctor` prints it, a run is checked against it before it starts, and fingerprints hold what it names.
"""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A backend is chosen where `option` (section.name of the configuration) has the value `value`.

    `packages`: distributions of the core whose version may change a result. `environment`: where its further packages
    stand, by name in `pipeline.environments`. `weights`: what it loads; `weight_option`: an option that names another;
    `path_option`: a file instead.
    `accelerator`: whether it runs on the GPU where `engine.device` is cuda.
    """

    stage: str
    option: str
    value: str
    packages: tuple[str, ...] = ()
    environment: str | None = None
    weights: tuple[str, ...] = ()
    weight_option: str | None = None
    path_option: str | None = None
    accelerator: bool = True

    def chosen(self, config: Any) -> bool:
        """Whether this configuration asks for it."""
        return bool(attrgetter(self.option)(config) == self.value)

    def weights_of(self, config: Any) -> tuple[str, ...]:
        """Names of the weights that it loads under this configuration."""
        if self.path_option and attrgetter(self.path_option)(config) is not None:
            return ()
        return (str(attrgetter(self.weight_option)(config)),) if self.weight_option else self.weights


BACKENDS = (
    Backend(
        stage="shots",
        option="shots.backend",
        value="transnetv2",
        packages=("torch",),
        weights=("transnetv2",),
    ),
    Backend(
        stage="faces",
        option="faces.detector",
        value="insightface",
        packages=("onnxruntime",),
        environment="faces",
        weights=("insightface-buffalo-l",),
    ),
    Backend(
        stage="faces",
        option="faces.descriptor",
        value="arcface",
        packages=("onnxruntime",),
        environment="faces",
        weights=("insightface-buffalo-l",),
    ),
    Backend(
        stage="speech",
        option="speech.words",
        value="faster-whisper",
        packages=("faster-whisper", "ctranslate2"),
        weights=("faster-whisper-large-v3",),
        path_option="speech.whisper",
    ),
    Backend(
        stage="speech",
        option="speech.words",
        value="whisperx",
        environment="whisperx",
        weights=("faster-whisper-large-v3",),
        path_option="speech.whisper",
    ),
    Backend(
        stage="vocals",
        option="vocals.backend",
        value="demucs",
        packages=("torch",),
        environment="vocals",
        weights=("htdemucs-ft-vocals",),
    ),
    Backend(
        stage="sync",
        option="sync.backend",
        value="syncnet",
        packages=("torch",),
        weights=("syncnet-v2",),
        path_option="sync.syncnet",
    ),
    Backend(
        stage="captions",
        option="captions.backend",
        value="qwen_vl",
        packages=("torch", "transformers"),
        weights=("qwen2.5-vl-7b",),
        weight_option="captions.weight",
    ),
    Backend(stage="captions", option="captions.backend", value="server", accelerator=False),
    Backend(
        stage="looks",
        option="looks.backend",
        value="open_clip",
        packages=("torch",),
        environment="looks",
        weights=("open-clip-vit-l-14", "laion-aesthetic"),
    ),
)


def chosen(config: Any) -> list[Backend]:
    """The backends that a configuration asks for."""
    return [backend for backend in BACKENDS if backend.chosen(config)]
