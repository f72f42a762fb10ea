"""Captions: by a vision-language model on sampled frames, or from the measurements alone; the row says by which."""

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.backends import caption_prompt
from pipeline.backends.caption_agreement import contradictions
from pipeline.backends.captioner import Asked, Captioner, Decoding, Described, describe
from pipeline.backends.measured_caption import measured_caption
from pipeline.stage import Clip, ClipInputs, ClipStage, Inapplicable, Measured, Row, Unmeasurable
from pipeline.stages.frames import spacing_s, unstacked
from pipeline.stages.options.captions import VERSION, CaptionsConfig, ServerConfig
from pipeline.weights.locate import Weights
from schemas.errors import UserError

if TYPE_CHECKING:
    # Captions that are measured need no client.
    from pipeline.backends.chat_server import ServerCaptioner


KEY = "HUMO_CAPTIONS_KEY"
"""Environment variable with the server's key: it never stands in a configuration, nor in run.json."""
ASKED_AT_ONCE = 8
"""Batches of the model that are handed over together, so that prompts of like length can be put beside one another."""


def captions_stage(config: CaptionsConfig, weights: Weights, *, device: str) -> ClipStage:
    """The stage that the configuration names, with its model loaded. Raises UserError."""
    if config.backend == "measurements":
        return MeasurementsStage(config)
    decoding = Decoding(tokens=config.tokens, temperature=config.temperature)
    if config.backend == "server":
        return ModelStage(config, _server(config.server, decoding))
    from pipeline.backends.qwen_vl import QwenCaptioner

    found = weights.find(config.weight)
    model = QwenCaptioner(found.folder, version=found.version, device=device, decoding=decoding, batch=config.batch)
    return ModelStage(config, model)


def check_captions(config: CaptionsConfig) -> None:
    """What can be known before a run. Raises UserError where the server is not there or has not the model."""
    if config.backend == "server":
        _server(config.server, Decoding(tokens=config.tokens, temperature=config.temperature)).check()


def _server(config: ServerConfig, decoding: Decoding) -> "ServerCaptioner":
    from pipeline.backends.chat_server import ServerCaptioner, ServerOptions

    if config.url is None or config.model is None:
        raise UserError("captions.backend=server: set captions.server.url and captions.server.model")
    options = ServerOptions(key=os.environ.get(KEY) or None, **config.model_dump())
    return ServerCaptioner(options, decoding)


class MeasurementsStage:
    """A caption of people, shot size, light, motion and speech, and no more."""

    name = "captions"
    backend = f"measurements/{VERSION}"

    def __init__(self, config: CaptionsConfig) -> None:
        self._config = config

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """One row: the caption, a short form, its number of words."""
        speech = inputs.rows("speech") if clip.audio_sha256 and self._config.speech else []
        text, short = measured_caption(
            inputs.rows("quality")[0], inputs.rows("faces")[0], speech[0] if speech else None
        )
        return Measured(rows={"captions": [{**_row(clip.id, text, short), "contradictions": 0}]})


class ModelStage:
    """A caption by a model that looks at frames."""

    name = "captions"

    def __init__(self, config: CaptionsConfig, captioner: Captioner) -> None:
        self._config = config
        self._captioner = captioner

    @property
    def backend(self) -> str:
        """Such as `qwen2_5_vl:0123abcd, humo-1`."""
        return f"{self._captioner.name}, {caption_prompt.VERSION}"

    def measure(self, clip: Clip, inputs: ClipInputs) -> Measured:
        """See `measure_batch`."""
        found = self.measure_batch([(clip, inputs)])[clip.id]
        if isinstance(found, Exception):
            raise found
        return found

    def measure_batch(self, items: Sequence[tuple[Clip, ClipInputs]]) -> dict[str, Measured | Exception]:
        """Clip id -> its row, or why it has none."""
        done: dict[str, Measured | Exception] = {}
        step = ASKED_AT_ONCE * max(self._config.batch, self._config.server.in_flight)
        for start in range(0, len(items), step):
            done.update(self._some(items[start : start + step]))
        return done

    def _some(self, items: Sequence[tuple[Clip, ClipInputs]]) -> dict[str, Measured | Exception]:
        done: dict[str, Measured | Exception] = {}
        asked: list[Asked] = []
        seen: dict[str, tuple[Row, int | None]] = {}
        for clip, inputs in items:
            try:
                row = inputs.rows("frames")[0]
                frames = unstacked(inputs.picture("frames", row["frames_sha256"]), row)
                seen[clip.id] = (row, _subjects(inputs))
                asked.append(Asked(key=clip.id, frames_thwc=frames, seconds=spacing_s(row)))
            except (Unmeasurable, Inapplicable, OSError) as error:
                done[clip.id] = error
        for key, found in describe(self._captioner, asked, attempts=self._config.attempts).items():
            done[key] = self._measured(key, found, *seen[key])
        return done

    def _measured(self, key: str, found: Described, frames: Row, subjects: int | None) -> Measured | Exception:
        if found.answer is None:
            return Unmeasurable(f"no caption after {found.attempts} attempts: {found.error}")
        against = contradictions(found.answer.long, subjects=subjects) if subjects is not None else None
        row = {
            **_row(key, found.answer.long, found.answer.short),
            "contradictions": None if against is None else len(against),
            "contradiction": "; ".join(against or []) or None,
            "prompt": caption_prompt.VERSION,
            "asked": json.dumps(
                {
                    "frames": frames["indices"],
                    "size": [frames["width"], frames["height"]],
                    "tokens": self._config.tokens,
                    "temperature": self._config.temperature,
                    "attempts": found.attempts,
                },
                sort_keys=True,
            ),
            "error": "the faces are not known: contradictions" if against is None else None,
        }
        return Measured(rows={"captions": [row]})


def _subjects(inputs: ClipInputs) -> int | None:
    """People whose faces are followed; None where that is not known."""
    try:
        return int(inputs.rows("faces")[0]["subjects"])
    except (Unmeasurable, Inapplicable):
        return None


def _row(key: str, text: str, short: str) -> Row:
    return {"id": key, "text": text, "text_short": short, "word_count": len(text.split()), "language": "en"}
