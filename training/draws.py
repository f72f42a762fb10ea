"""Random numbers that belong to a place in the run: the same on any device, in any worker, after any resume."""

from enum import IntEnum

import numpy as np


class Draw(IntEnum):
    """What a number is drawn for. The values enter the seeds, so they never change."""

    ORDER = 1
    BUCKET = 2
    TASK = 3
    WINDOW = 4
    TIMESTEP = 5
    NOISE = 6
    DROPOUT = 7
    CROP = 8
    REFERENCE = 9


def generator(seed: int, draw: Draw, *place: int) -> np.random.Generator:
    """A generator for one purpose at one place, for example (step, slot). Different places are independent."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, int(draw), *place))))


def timestep(uniform_normal: float, shift: float) -> float:
    """The flow-matching time s in (0, 1) of a standard normal number: logit-normal, then moved by the shift.

    s = k u / (1 + (k - 1) u) with u = sigmoid(normal). s = 0 is the video, s = 1 is noise.
    """
    u = 1.0 / (1.0 + float(np.exp(-uniform_normal)))
    return shift * u / (1.0 + (shift - 1.0) * u)
