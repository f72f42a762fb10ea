"""Whatever a captions server does, each clip ends with its own caption or with a reason, never with another's."""

import random
from typing import Any

import numpy as np
import pytest

from pipeline.backends import chat_server
from pipeline.backends.caption_prompt import tag
from pipeline.backends.captioner import Asked, Decoding, Reply, describe
from pipeline.backends.chat_server import ServerCaptioner, ServerOptions
from schemas.errors import UserError
from tests.pipeline.chat_loopback import COLOURS, MODEL, Loopback, caption, loopback


def captioner(url: str, **over: Any) -> ServerCaptioner:
    options = {"model": MODEL, "key": "secret", "in_flight": 8, "seconds": 2.0, "tries": 3} | over
    return ServerCaptioner(ServerOptions(url=url, **options), Decoding(tokens=300, temperature=0.0))


def clips(count: int) -> dict[str, tuple[str, Asked]]:
    """Key -> a colour, and a clip of that colour."""
    found = {}
    for number in range(count):
        colour = list(COLOURS)[number % len(COLOURS)]
        frames = [np.full((24, 32, 3), COLOURS[colour], np.uint8)] * 2
        key = f"{number:016x}_0_{number}"
        found[key] = (colour, Asked(key=key, frames_thwc=frames, seconds=0.5))
    return found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_server, "FIRST_PAUSE_S", 0.01)


def test_on_a_bad_day_every_clip_gets_its_own_caption_or_a_reason() -> None:
    made = clips(40)
    keys = list(made)
    troubles = [
        *(["503"], ["429", "500"], ["garbage"], ["no completion"], ["breaks off"], ["hangs"]),
        *(["another's"], ["another's", "another's"], ["no tag"], ["refusal"], ["loop"], ["chinese"], ["markup"]),
        *(["short"], ["cut"], ["refusal", "garbage", "503"]),
    ]
    hopeless = {
        keys[30]: ["another's"] * 9,
        keys[31]: ["400"] * 9,
        keys[32]: ["garbage"] * 9,
        keys[33]: ["refusal"] * 9,
    }
    trouble = {tag(key): list(wrong) for key, wrong in zip(keys, troubles, strict=False)}
    trouble |= {tag(key): wrong for key, wrong in hopeless.items()}
    late = {tag(key): random.Random(key).uniform(0.0, 0.2) for key in keys}
    with loopback(trouble=trouble, late_s=late) as server:
        found = describe(captioner(server.url, seconds=3.0), [asked for _, asked in made.values()], attempts=3)
    assert found.keys() == made.keys()
    assert server.answered[: len(keys)] != [tag(key) for key in keys], "answers came in order: nothing was tried"
    # One more than 8: the server still waits where the client gave up.
    assert 4 < server.most_at_once <= 9
    for key, (colour, _) in made.items():
        answer = found[key].answer
        if key in hopeless:
            assert answer is None
        else:
            assert answer is not None, found[key].error
            assert f"A {colour} wall" in answer.long
            assert f"a {colour} wall" in answer.short
    reasons = [str(found[key].error) for key in hopeless]
    assert "not for this clip" in reasons[0]
    assert "told to fail with 400" in reasons[1]
    assert "not JSON" in reasons[2]
    assert "refusal" in reasons[3]
    assert any("LONG is a refusal. Answer again" in text for text in server.told)
    assert server.keys == {"Bearer secret"}


def test_a_server_that_mixes_up_all_its_answers_swaps_no_caption() -> None:
    """Each request gets the answer to the one before, again and again."""
    made = clips(8)
    trouble = {tag(key): ["another's"] * 50 for key in made}
    with loopback(trouble=trouble) as server:
        found = describe(captioner(server.url), [asked for _, asked in made.values()], attempts=2)
    for key, (colour, _) in made.items():
        answer = found[key].answer
        assert answer is None or f"A {colour} wall" in answer.long
    assert sum(one.answer is None for one in found.values()) >= 6


class Shuffled:
    """Answers in another order than it was asked in."""

    name = "shuffled"

    def reply(self, asked: list[Asked]) -> list[Reply]:
        replies = [Reply(key=one.key, text=caption(tag(one.key), one.key[15])) for one in asked]
        random.Random(0).shuffle(replies)
        return replies


class Swapped(Shuffled):
    """Puts each text under the next key."""

    def reply(self, asked: list[Asked]) -> list[Reply]:
        texts = [caption(tag(one.key), one.key[15]) for one in asked]
        return [Reply(key=one.key, text=text) for one, text in zip(asked, [*texts[1:], texts[0]], strict=True)]


def test_the_order_of_replies_does_not_matter_and_swapped_texts_are_refused() -> None:
    asked = [one for _, one in clips(10).values()]
    for key, one in describe(Shuffled(), asked, attempts=1).items():
        assert one.answer is not None
        assert f"A {key[15]} wall" in one.answer.long
    assert all(one.answer is None for one in describe(Swapped(), asked, attempts=2).values())


def test_a_captioner_that_loses_or_invents_a_key_is_a_bug() -> None:
    asked = [one for _, one in clips(3).values()]

    class Loses(Shuffled):
        def reply(self, asked: list[Asked]) -> list[Reply]:
            return super().reply(asked)[1:]

    with pytest.raises(ValueError, match="each key"):
        describe(Loses(), asked, attempts=1)
    with pytest.raises(ValueError, match="twice"):
        describe(Shuffled(), [*asked, asked[0]], attempts=1)


def test_before_a_run_a_server_is_asked_for_its_models() -> None:
    with loopback() as server:
        captioner(server.url).check()
        with pytest.raises(UserError, match=f"captions.server.model to one of: {MODEL}"):
            captioner(server.url, model="another").check()
        with pytest.raises(UserError, match="ends with /v1"):
            captioner(server.url.removesuffix("/v1")).check()
    with pytest.raises(UserError, match="is not reached"):
        captioner("http://127.0.0.1:9/v1").check()


def test_the_key_does_not_follow_a_redirect() -> None:
    from aiohttp import web

    async def elsewhere(self: Loopback, request: Any) -> Any:
        raise web.HTTPFound("http://127.0.0.1:9/v1/chat/completions")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loopback, "chat", elsewhere)
        with loopback() as server:
            ((_, one),) = clips(1).values()
            (reply,) = captioner(server.url).reply([one])
    assert reply.text is None
    assert "status 302" in str(reply.error)
