"""Windows over long videos: they cover it, overlap, and blend into one trajectory."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from humo.windows import OVERLAP, blend_weights, window_starts


@given(frames=st.integers(1, 300), window=st.integers(2, 30))
def test_windows_cover_overlap_and_their_weights_sum_to_one(frames: int, window: int) -> None:
    starts = window_starts(frames, window)
    length = min(frames, window)
    assert starts[0] == 0
    assert starts[-1] + length == frames
    steps = [later - earlier for earlier, later in pairwise(starts)]
    # Starts are rounded to whole frames.
    assert all(0 < step <= max(1, window * (1 - OVERLAP)) + 1 for step in steps)
    total = torch.zeros(frames)
    for start, weights in zip(starts, blend_weights(starts, window, frames), strict=True):
        assert weights.shape == (length,)
        assert weights.gt(0).all()
        total[start : start + length] += weights
    assert torch.allclose(total, torch.ones(frames), atol=1e-6)


def test_the_training_length_is_one_window() -> None:
    assert window_starts(25, 25) == [0]
    assert window_starts(49, 25) == [0, 12, 24]
