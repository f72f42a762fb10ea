"""Options of the stage `captions`, and the version of its code."""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.configuration import Configuration

VERSION = 2


class ServerConfig(Configuration):
    """An OpenAI-compatible server; its key stands in the environment variable HUMO_CAPTIONS_KEY."""

    WHERE: ClassVar = frozenset({"url", "in_flight", "seconds", "tries"})
    """Options that change no result."""

    url: str | None = Field(default=None, description="Its address, up to and with /v1")
    model: str | None = Field(default=None, description="Which of its models is asked")
    in_flight: int = Field(default=32, ge=1, description="Requests at a time of each worker")
    seconds: float = Field(default=180, gt=0, description="That a request may take before it is sent again")
    tries: int = Field(default=5, ge=1, description="Times that a request is sent where the server fails or is busy")


class CaptionsConfig(Configuration):
    """How clips are described."""

    WHERE: ClassVar = frozenset({"batch"})
    """Options that change no result."""

    backend: Literal["measurements", "qwen_vl", "server"] = Field(
        default="measurements",
        description="measurements: sentences from what was measured, no looks, clothes or action; qwen_vl: Qwen2.5-VL "
        "or Qwen3-VL here; server: any OpenAI-compatible server, such as vLLM or SGLang",
    )
    speech: bool = Field(default=True, description="measurements: say whether somebody speaks")
    weight: Literal["qwen2.5-vl-7b", "qwen2.5-vl-3b", "qwen3-vl-8b"] = Field(
        default="qwen2.5-vl-7b", description="qwen_vl: which model"
    )
    server: ServerConfig = ServerConfig()
    attempts: int = Field(default=3, ge=1, description="Times that a clip is asked about until the answer is a caption")
    tokens: int = Field(default=400, ge=16, description="Most new tokens of an answer")
    temperature: float = Field(default=0.0, ge=0, le=2, description="0 takes the likeliest word each time")
    batch: int = Field(default=8, ge=1, description="qwen_vl: clips at a time")
