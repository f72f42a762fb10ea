"""A text encoder without weights: every word becomes a fixed vector drawn from a hash of its letters."""

import hashlib
import math
from functools import lru_cache
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from humo.mini.configuration import MiniConfig, read_config, write_config

TRIGRAM_WEIGHT = 0.5
"""Of the shared letter groups against the whole word: "smiles" lies near "smile" and far from "frowns"."""
POSITION_WEIGHT = 0.1


class HashedTextEncoder:
    """Words to seeded vectors of about unit variance, the same on every machine and in every process.

    Args:
        seed: another seed gives another, equally good, code.
        width: channels of a token.
        length: longest text in tokens; the rest is cut.
    """

    def __init__(self, *, seed: int = 0, width: int = 64, length: int = 32) -> None:
        self.seed = seed
        self.width = width
        self.length = length
        self._word = lru_cache(maxsize=16384)(self._word_vector)

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> "HashedTextEncoder":
        """From its configuration; it runs on the CPU and leaves moving its small output to the caller."""
        config = read_config(folder, cls.__name__)
        return cls(seed=config.seed, width=config.width, length=config.length)

    def save(self, folder: Path) -> None:
        """Write its configuration."""
        kind = type(self).__name__
        write_config(folder, MiniConfig(encoder=kind, seed=self.seed, width=self.width, length=self.length))

    def encode(self, texts: list[str]) -> Tensor:
        """See `humo.encoders.TextEncoder`. A text without words is one zero token."""
        split = [text.lower().split()[: self.length] for text in texts]
        features_bld = numpy.zeros((len(texts), max(1, *map(len, split)), self.width), numpy.float32)
        for row, words in enumerate(split):
            for position, word in enumerate(words):
                place = self._draw(f"position {position}")
                features_bld[row, position] = self._word(word) + POSITION_WEIGHT * place
        return torch.from_numpy(features_bld)

    def _word_vector(self, word: str) -> NDArray[numpy.float32]:
        letters = word.strip(".,;:!?\"'()") or word
        marked = f"<{letters}>"
        trigrams = [self._draw(f"letters {marked[i : i + 3]}") for i in range(len(marked) - 2)]
        shared = numpy.stack(trigrams).sum(0) / math.sqrt(len(trigrams))
        vector = self._draw(f"word {letters}") + TRIGRAM_WEIGHT * shared
        return numpy.asarray(vector / math.sqrt(1 + TRIGRAM_WEIGHT**2), numpy.float32)

    def _draw(self, name: str) -> NDArray[numpy.float32]:
        digest = hashlib.blake2b(f"{self.seed}:{name}".encode(), digest_size=8).digest()
        generator = numpy.random.Generator(numpy.random.PCG64(int.from_bytes(digest, "little")))
        return generator.standard_normal(self.width, dtype=numpy.float32)
