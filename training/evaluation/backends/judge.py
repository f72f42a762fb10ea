"""A vision-language model behind a server that speaks OpenAI's chat completions."""

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import cv2
import numpy as np
from numpy.typing import NDArray

LARGEST_ANSWER = 1 << 20
"""Bytes."""


class NoAnswer(Exception):
    """The judge gave none, with the reason. `passing`: it may give one another time."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


class Judge(Protocol):
    """Answers a question about pictures."""

    @property
    def name(self) -> str:
        """Which it is."""
        ...

    def answer(self, question: str, pictures: Sequence[NDArray[np.uint8]]) -> str:
        """Its text. Raises NoAnswer."""
        ...


@dataclass(frozen=True, kw_only=True)
class ServerJudge:
    """Asks a server, without chance where the server has none at temperature 0."""

    url: str
    """Up to and with `/v1`."""
    model: str
    key: str | None
    """Sent as a bearer token."""
    seconds: float

    @property
    def name(self) -> str:
        """Such as `server:Qwen/Qwen2.5-VL-7B-Instruct`."""
        return f"server:{self.model}"

    def answer(self, question: str, pictures: Sequence[NDArray[np.uint8]]) -> str:
        """See `Judge`."""
        shown = [{"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in pictures]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": [*shown, {"type": "text", "text": question}]}],
            "temperature": 0,
            "seed": 0,
            "max_tokens": 200,
        }
        try:
            return asyncio.run(self._asked(body))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise NoAnswer(f"the judge is not reached: {why}", passing=True) from error

    async def _asked(self, body: dict[str, Any]) -> str:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        timeout = aiohttp.ClientTimeout(total=self.seconds)
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
            # Redirects are not followed: the key and the pictures go where the user said, only.
            session.post(f"{self.url.rstrip('/')}/chat/completions", json=body, allow_redirects=False) as response,
        ):
            content = b""
            async for block in response.content.iter_any():
                content += block
                if len(content) > LARGEST_ANSWER:
                    raise NoAnswer("the judge's answer does not end")
            if response.status != 200:
                busy = response.status == 429 or response.status >= 500
                raise NoAnswer(f"the judge answers with status {response.status}", passing=busy)
        try:
            text = json.loads(content)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise NoAnswer("the judge's answer is no chat completion") from error
        if not isinstance(text, str):
            raise NoAnswer("the judge's answer has no text")
        return text


def _data_url(picture_hwc: NDArray[np.uint8]) -> str:
    _, data = cv2.imencode(".png", cv2.cvtColor(picture_hwc, cv2.COLOR_RGB2BGR))
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"
