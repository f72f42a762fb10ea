"""Captions by any server that speaks OpenAI's chat completions: vLLM, SGLang, or one further away.

Each reply is bound to its clip twice: by the HTTP exchange that it came in, and by a tag that the prompt asks for and
the text must begin with (see `caption_prompt`), so that a proxy or a batching server that mixes answers up is noticed.
"""

import asyncio
import base64
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.backends.captioner import Asked, Decoding, Reply
from schemas.errors import UserError

LONGEST_REPLY = 1 << 20
"""Bytes. A caption takes some thousand."""
CHECK_SECONDS = 20.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
JPEG_QUALITY = 90
BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where the server is and how it is asked. `url`: up to and with `/v1`. `key`: sent as a bearer token."""

    url: str
    model: str
    key: str | None
    in_flight: int
    """Requests at a time."""
    seconds: float
    """That a request may take."""
    tries: int
    """Times that a request is sent before the exchange counts as failed."""


class ServerCaptioner:
    """Asks a server. Requests run side by side; replies come back by key."""

    def __init__(self, options: ServerOptions, decoding: Decoding) -> None:
        self._options = options
        self._decoding = decoding

    @property
    def name(self) -> str:
        """Such as `server:Qwen/Qwen2.5-VL-7B-Instruct`."""
        return f"server:{self._options.model}"

    def check(self) -> None:
        """Ask which models the server has. Raises UserError where it is not reached or has not this one."""
        asyncio.run(self._check())

    def reply(self, asked: Sequence[Asked]) -> list[Reply]:
        """A reply for every key. See `Captioner`."""
        return asyncio.run(self._replies(asked))

    async def _check(self) -> None:
        where = f"the captions server {self._options.url}"
        try:
            async with self._session(CHECK_SECONDS) as session:
                status, data = await self._exchange(session, "GET", "models", None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UserError(f"{where} is not reached ({_said(error)}): set captions.server.url") from error
        if status in (401, 403):
            raise UserError(f"{where} refuses the key: put the right one into the variable HUMO_CAPTIONS_KEY")
        models = data.get("data") if isinstance(data, dict) else None
        names = [str(one.get("id")) for one in models if isinstance(one, dict)] if isinstance(models, list) else None
        if status != 200 or names is None:
            raise UserError(f"{where} does not list its models (status {status}): captions.server.url ends with /v1")
        if self._options.model not in names:
            listed = ", ".join(names) or "none"
            raise UserError(
                f"{where} has no model {self._options.model!r}; set captions.server.model to one of: {listed}"
            )

    async def _replies(self, asked: Sequence[Asked]) -> list[Reply]:
        turn = asyncio.Semaphore(self._options.in_flight)
        async with self._session(self._options.seconds) as session:
            return list(await asyncio.gather(*(self._one(session, turn, one) for one in asked)))

    async def _one(self, session: aiohttp.ClientSession, turn: asyncio.Semaphore, asked: Asked) -> Reply:
        async with turn:
            error = "never sent"
            pause = FIRST_PAUSE_S
            for number in range(self._options.tries):
                if number:
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                try:
                    status, data = await self._exchange(session, "POST", "chat/completions", self._request(asked))
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
                    error = _said(problem)
                    continue
                if status == 200:
                    try:
                        return Reply(key=asked.key, text=_text(data))
                    except ValueError as problem:
                        error = str(problem)
                        continue
                error = f"status {status}: {_reason(data)}"
                if status not in BUSY:
                    break
            return Reply(key=asked.key, text=None, error=f"the server gave no answer: {error}")

    def _session(self, seconds: float) -> aiohttp.ClientSession:
        headers = {"Authorization": f"Bearer {self._options.key}"} if self._options.key else {}
        return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=seconds), trust_env=True)

    async def _exchange(self, session: aiohttp.ClientSession, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON. Redirects are not followed: the key and the pictures go where the user said, only."""
        url = f"{self._options.url.rstrip('/')}/{path}"
        async with session.request(method, url, json=body, allow_redirects=False) as response:
            data = await response.content.read(LONGEST_REPLY + 1)
            while not response.content.at_eof() and len(data) <= LONGEST_REPLY:
                data += await response.content.read(LONGEST_REPLY + 1 - len(data))
            if len(data) > LONGEST_REPLY:
                raise ValueError(f"a reply of more than {LONGEST_REPLY} bytes")
            try:
                return response.status, json.loads(data)
            except ValueError as error:
                if response.status == 200:
                    raise ValueError("a reply that is not JSON") from error
                return response.status, None

    def _request(self, asked: Asked) -> dict[str, Any]:
        text = asked.text()
        pictures = [{"type": "image_url", "image_url": {"url": _data_url(frame)}} for frame in asked.frames_thwc]
        return {
            "model": self._options.model,
            "messages": [{"role": "user", "content": [*pictures, {"type": "text", "text": text}]}],
            "max_tokens": self._decoding.tokens,
            "temperature": self._decoding.temperature,
            "n": 1,
            "stream": False,
        }


def _text(data: Any) -> str:
    """The answer in a chat completion. Raises ValueError where it is none."""
    choices = data.get("choices") if isinstance(data, dict) else None
    first = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    message = first.get("message") if isinstance(first, dict) else None
    text = message.get("content") if isinstance(message, dict) else None
    if not isinstance(text, str) or not isinstance(first, dict):
        raise ValueError("a reply that is no chat completion")
    return text


def _reason(data: Any) -> str:
    error = data.get("error", data.get("message")) if isinstance(data, dict) else None
    text = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(text).split())[:200] if text else "no reason given"


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _data_url(frame_hwc: NDArray[np.uint8]) -> str:
    encoded, data = cv2.imencode(
        ".jpg", cv2.cvtColor(frame_hwc, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    assert encoded
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
