"""An OpenAI-compatible server on the loopback that does what servers do on bad days, by what each clip is to suffer."""

import asyncio
import base64
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from aiohttp import web

MODEL = "tiny-vl"
SENTENCE = (
    "A {colour} wall fills the scene behind one person who stands in even light, with short dark hair and a plain "
    "jacket, and turns slowly from the left to the right with a calm face, while the camera holds a medium shot from "
    "the front and does not move."
)
Answer = Callable[[str, str], str]


def caption(tag: str, colour: str) -> str:
    """A right answer: it bears the tag, and tells the colour of the pictures that were sent."""
    return f"CLIP: {tag}\nSHORT: A person before a {colour} wall.\nLONG: {SENTENCE.format(colour=colour)}"


@dataclass
class Loopback:
    """What the server is to do, and what it saw."""

    url: str = ""
    trouble: dict[str, list[str]] = field(default_factory=dict)
    """Tag -> what happens to each of its requests in turn; after these all is well."""
    late_s: dict[str, float] = field(default_factory=dict)
    """Tag -> how long its answers take."""
    asked: Counter[str] = field(default_factory=Counter)
    """Tag -> requests."""
    answered: list[str] = field(default_factory=list)
    """Tags in the order in which answers left."""
    told: list[str] = field(default_factory=list)
    """Texts that were sent along."""
    keys: set[str] = field(default_factory=set)
    most_at_once: int = 0
    _at_once: int = 0
    _texts: dict[str, str] = field(default_factory=dict)
    """Tag -> its right answer, the latest asked last."""

    async def models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [{"id": MODEL}]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.keys.add(request.headers.get("Authorization", ""))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._chat(await request.json())
        finally:
            self._at_once -= 1

    async def _chat(self, body: dict[str, Any]) -> web.StreamResponse:
        content = body["messages"][0]["content"]
        text = next(part["text"] for part in content if part["type"] == "text")
        self.told.append(text)
        tag = re.search(r"CLIP: (\w+)", text)[1]  # type: ignore[index]  # every prompt has one
        pictures = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        right = caption(tag, _colour(pictures))
        before = next((text for other, text in reversed(self._texts.items()) if other != tag), "")
        self._texts = {**{other: text for other, text in self._texts.items() if other != tag}, tag: right}
        turn = self.asked[tag]
        self.asked[tag] += 1
        await asyncio.sleep(self.late_s.get(tag, 0.0))
        wrong = self.trouble.get(tag, [])
        self.answered.append(tag)
        return await self._act(wrong[turn] if turn < len(wrong) else "", right, before)

    async def _act(self, wrong: str, right: str, before: str) -> web.StreamResponse:
        if wrong.isdigit():
            return web.json_response({"error": {"message": f"told to fail with {wrong}"}}, status=int(wrong))
        if wrong == "garbage":
            return web.Response(body=b"\x00\xff<html>", content_type="application/json")
        if wrong == "no completion":
            return web.json_response({"choices": [{"message": {"content": None}}]})
        if wrong == "hangs":
            await asyncio.sleep(30)
        if wrong == "breaks off":
            return web.Response(body=json.dumps(_completion(right)).encode()[:40], content_type="application/json")
        texts = {
            "": right,
            "another's": before,
            "no tag": right.partition("\n")[2],
            "refusal": re.sub("LONG:.*", "LONG: I'm sorry, but I can't help with describing this person.", right),
            "loop": re.sub("LONG:.*", f"LONG: {'the man looks at the man and ' * 20}.", right),
            "chinese": re.sub("LONG:.*", "LONG: 一个人站在墙前面慢慢地转头光线很均匀。" * 4, right),
            "markup": right.replace("wall fills", "**wall** fills"),
            "short": re.sub("LONG:.*", "LONG: A person.", right),
            "cut": right.rstrip(".") + " and the",
        }
        return web.json_response(_completion(texts[wrong]))


@contextmanager
def loopback(**about: Any) -> Iterator[Loopback]:
    """A server while the block lasts."""
    server = Loopback(**about)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/chat/completions", server.chat)
    loop, started = asyncio.new_event_loop(), threading.Event()

    async def start() -> None:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        started.set()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def _completion(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


COLOURS = {"red": (200, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 200), "grey": (128, 128, 128)}


def _colour(pictures: list[str]) -> str:
    """The name of what the pictures show on average, so that an answer tells whose pictures it is about."""
    means = []
    for url in pictures:
        data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
        means.append(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB).mean(axis=(0, 1)))
    mean = np.mean(means, axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))
