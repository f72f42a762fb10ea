"""Options of the stage `speech`, and the version of its code."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 2


class SpeechConfig(Configuration):
    """How speech is heard."""

    backend: Literal["silero"] = Field(default="silero", description="Voice activity detector")
    words: Literal["none", "faster-whisper", "whisperx"] = Field(
        default="none",
        description="Recogniser: none leaves language and text NULL; faster-whisper runs in the core environment; "
        "whisperx aligns its words to the sound, and needs an environment of its own",
    )
    whisper: Path | None = Field(
        default=None, description="Folder of Whisper in CTranslate2's layout, for either recogniser"
    )
    aligners: dict[str, Path] = Field(
        default={}, description="whisperx: language code -> folder of a Wav2Vec2ForCTC that aligns it"
    )
    language: str | None = Field(default=None, description="Whisper's code of the language; NULL: heard in every clip")
    device: str = Field(default="cpu", description="Where the recogniser runs: cpu, cuda, cuda:1 ...")
