"""Splits never cut through what hangs together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decide.components import components, connected, split_of

clips = [f"{n:016x}_0_{n}" for n in range(12)]
links = st.lists(st.tuples(st.sampled_from(clips), st.sampled_from(["a", "b", "c", "d", "e"])), max_size=30)


def oracle(found: list[tuple[str, str]]) -> dict[str, str]:
    """Spread the smallest name along every link until nothing changes."""
    name = {clip: clip for clip in clips}
    changed = True
    while changed:
        changed = False
        for one, shared in found:
            for other, also in found:
                if shared == also and name[one] != name[other]:
                    name[one] = name[other] = min(name[one], name[other])
                    changed = True
    return name


@given(links)
def test_components_equal_a_plain_oracle(found: list[tuple[str, str]]) -> None:
    assert components(clips, found) == oracle(found)


@given(links)
def test_the_order_of_the_links_does_not_matter(found: list[tuple[str, str]]) -> None:
    assert components(clips, found) == components(clips, list(reversed(found)))


def test_split_takes_about_the_share_asked_for() -> None:
    splits = [split_of(f"{n:016x}_0_1", 0.2) for n in range(5000)]
    assert 0.17 < splits.count("val") / 5000 < 0.23
    assert all(split_of(clip, 0.0) == "train" for clip in clips)


@given(st.integers(1, 40), st.data())
def test_every_node_is_told_the_smallest_that_it_is_linked_to(count: int, data: st.DataObject) -> None:
    node = st.integers(0, count - 1)
    found = data.draw(st.lists(st.tuples(node, node), max_size=60))
    one, other = np.array(found, dtype=np.int64).reshape(-1, 2).T
    smallest = list(range(count))
    for _ in range(count):
        for a, b in found:
            smallest[a] = smallest[b] = min(smallest[a], smallest[b])
    assert connected(one, other, count=count).tolist() == smallest


def test_a_long_chain_in_any_order_is_one() -> None:
    order = np.random.default_rng(0).permutation(100_000)
    assert not connected(order[:-1], order[1:], count=len(order)).any()
