"""The forward passes of a step: stacked into batches, with the keys and values of text and audio made once a video."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from humo.attention import KeysValues, Rotary
from humo.guidance import Pass
from humo.residual_cache import Residual, Reuse
from humo.transformer import HuMoOutput, HuMoTransformer, Memory


@dataclass(frozen=True)
class Choice:
    """A condition of all samples, (batch, ...), and what stands in its place in passes that go without it."""

    given: Tensor
    null: Tensor

    def stack(self, wanted: Sequence[bool]) -> Tensor:
        """One after the other along the batch axis."""
        return torch.cat([self.given if given else self.null for given in wanted])


class Passes:
    """All passes of one video. Nothing may change between steps but the latents and the timestep."""

    def __init__(
        self,
        model: HuMoTransformer,
        *,
        texts: Choice,
        audios: Choice,
        references: Choice,
        zero_condition: Tensor | None,
        at_once: int,
        same_text: "Passes | None" = None,
        reuse: Reuse | None = None,
    ) -> None:
        """The text's two forms may differ in length.

        `at_once`: passes in one batch. `same_text`: other passes with the same text, whose keys and values serve here.
        `reuse`: see `humo.residual_cache`.
        """
        self._model = model
        length = max(texts.given.shape[1], texts.null.shape[1])
        self._texts = Choice(*(_lengthen(text, length) for text in (texts.given, texts.null)))
        self._audios, self._references, self._zero_condition = audios, references, zero_condition
        self._at_once = at_once
        self._batch = len(texts.given)
        self._text_made: dict[bool, list[KeysValues]] = {} if same_text is None else same_text._text_made
        self._audio_made: dict[bool, list[KeysValues]] = {}
        self._rotary: Rotary | None = None
        self._memories: dict[tuple[Pass, ...], Memory] = {}
        self._reuse = reuse
        self._residuals: dict[tuple[Pass, ...], Residual] = {}

    def velocities(
        self, latents_bcthw: Tensor, timestep: Tensor, names: tuple[Pass, ...], *, fresh: bool = False
    ) -> Iterator[tuple[Pass, Tensor]]:
        """Each pass with its velocity in the shape of the latents.

        `timestep` is a scalar. `fresh`: nothing is reused.
        """
        groups = [names[start : start + self._at_once] for start in range(0, len(names), self._at_once)]
        self._memories = {group: memory for group, memory in self._memories.items() if group in groups}
        self._residuals = {group: kept for group, kept in self._residuals.items() if group in groups}
        for group in groups:
            if self._reuse is not None:
                self._residuals.setdefault(group, Residual(self._reuse)).fresh = fresh
            self._memories[group] = self._memory(group)
            worded, pictured, heard = ([letter in name for name in group] for letter in "TIA")
            zero = self._zero_condition
            output: HuMoOutput = self._model(
                latents_bcthw.repeat(len(group), 1, 1, 1, 1),
                timestep[None],
                text_bld=self._texts.stack(worded),
                audio_windows_btwgc=self._audios.stack(heard),
                reference_bcrhw=self._references.stack(pictured),
                zero_condition_bcthw=None if zero is None else zero.repeat(len(group), 1, 1, 1, 1),
                memory=self._memories[group],
                residual=self._residuals.get(group),
            )
            self._keep(group)
            yield from zip(group, output.velocity_bcthw.chunk(len(group)), strict=True)

    def _memory(self, group: tuple[Pass, ...]) -> Memory:
        """The group's own if the last step had it, else put together from what other groups made."""
        if group in self._memories:
            return self._memories[group]
        return Memory(
            text=_assemble(self._text_made, ["T" in name for name in group]),
            audio=_assemble(self._audio_made, ["A" in name for name in group]),
            rotary=self._rotary,
        )

    def _keep(self, group: tuple[Pass, ...]) -> None:
        """Views of each condition's rows, so that nothing is held twice."""
        memory = self._memories[group]
        self._rotary = memory.rotary
        for made, filled, letter in ((self._text_made, memory.text, "T"), (self._audio_made, memory.audio, "A")):
            assert filled is not None
            for place, name in enumerate(group):
                rows = slice(place * self._batch, (place + 1) * self._batch)
                made[letter in name] = [KeysValues(block.keys[rows], block.values[rows]) for block in filled]


def _assemble(made: dict[bool, list[KeysValues]], wanted: Sequence[bool]) -> list[KeysValues] | None:
    if not all(given in made for given in wanted):
        return None
    if len(wanted) == 1:
        return made[wanted[0]]

    def joined(part: Callable[[KeysValues], Tensor], block: int) -> Tensor:
        return torch.cat([part(made[given][block]) for given in wanted])

    return [
        KeysValues(joined(lambda kv: kv.keys, block), joined(lambda kv: kv.values, block))
        for block in range(len(made[wanted[0]]))
    ]


def _lengthen(text_bld: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(text_bld, (0, 0, 0, length - text_bld.shape[1]))
