import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import Augmentation
from training.framing import crop_corner, face_mask, move_box, varied_reference

PLAIN = Augmentation(flip=0, smallest_scale=1, colour=0)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_crop_keeps_the_faces_whole_and_uses_all_such_places() -> None:
    lefts = set()
    for seed in range(200):
        top, left = crop_corner([(0.5, 0.1, 0.7, 0.9)], scaled=(32, 100), size=(32, 32), random=random(seed))
        assert top == 0
        assert left <= 50
        assert left + 32 >= 70
        lefts.add(left)
    assert lefts == set(range(38, 51))


def test_a_crop_without_faces_may_lie_anywhere() -> None:
    lefts = {crop_corner([], scaled=(8, 12), size=(8, 8), random=random(seed))[1] for seed in range(60)}
    assert lefts == {0, 1, 2, 3, 4}


def test_a_crop_is_centred_on_faces_wider_than_itself() -> None:
    boxes = [(0.3, 0.0, 0.4, 1.0), (0.6, 0.0, 0.9, 1.0)]
    assert crop_corner(boxes, scaled=(32, 100), size=(32, 32), random=random()) == (0, 44)


def test_a_crop_stays_inside_the_picture_for_faces_at_its_edge() -> None:
    assert crop_corner([(-0.2, 0, 0.1, 1)], scaled=(32, 100), size=(32, 32), random=random())[1] == 0
    lefts = {
        crop_corner([(0.9, 0, 1.2, 1)], scaled=(32, 100), size=(32, 32), random=random(seed))[1] for seed in range(20)
    }
    assert lefts == {68}


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 40), st.integers(0, 8))
def test_a_moved_box_covers_the_same_pixels(x0: float, y0: float, left: int, top: int) -> None:
    scaled, size = (40, 72), (32, 32)
    box = (x0, y0, x0 + 0.1, y0 + 0.2)
    moved = move_box(box, scaled=scaled, size=size, corner=(top, left))
    pixels = np.array([x0 * 72 - left, y0 * 40 - top, (x0 + 0.1) * 72 - left, (y0 + 0.2) * 40 - top]).clip(0, 32)
    if moved is None:
        assert pixels[0] >= pixels[2] or pixels[1] >= pixels[3]
    else:
        assert np.allclose(np.array(moved) * 32, pixels)


def test_a_mask_belongs_to_the_latent_frame_that_shows_the_face() -> None:
    box = (0.0, 0.0, 0.5, 0.25)
    for frame, latent in ((0, 0), (1, 1), (4, 1), (5, 2), (8, 2)):
        boxes = [[box] if number == frame else [] for number in range(9)]
        mask = face_mask(boxes, size=(64, 64))
        assert mask.shape == (3, 4, 4)
        assert mask.any(axis=(1, 2)).tolist() == [number == latent for number in range(3)]
        assert np.argwhere(mask[latent]).tolist() == [[0, 0], [0, 1]]


def test_a_mask_joins_faces_and_the_frames_of_a_latent() -> None:
    boxes = [[], [(0.0, 0.0, 0.3, 0.3)], [(0.7, 0.7, 1.0, 1.0)], [], [(0.3, 0.3, 0.7, 0.7), (0.7, 0.0, 1.0, 0.3)]]
    assert face_mask(boxes, size=(48, 48))[1].astype(int).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def test_the_smallest_face_still_has_its_token() -> None:
    mask = face_mask([[(0.51, 0.51, 0.511, 0.511)]], size=(64, 64))
    assert np.argwhere(mask[0]).tolist() == [[2, 2]]
    assert face_mask([[(0.999, 0.999, 1.0, 1.0)]], size=(64, 64))[0, 3, 3]


def test_without_variation_a_reference_is_only_fitted() -> None:
    image = random().integers(0, 256, (32, 16, 3)).astype(np.uint8)
    fitted = varied_reference(image, size=(32, 32), augmentation=PLAIN, random=random())
    assert np.array_equal(fitted[:, 8:24], image)
    assert (fitted[:, :8] == 255).all()
    assert (fitted[:, 24:] == 255).all()


@pytest.mark.parametrize("seed", range(4))
def test_each_variation_does_what_it_says(seed: int) -> None:
    image = random().integers(40, 216, (32, 32, 3)).astype(np.uint8)
    flipped = varied_reference(
        image, size=(32, 32), augmentation=PLAIN.model_copy(update={"flip": 1.0}), random=random(seed)
    )
    assert np.array_equal(flipped, image[:, ::-1])
    shrunk = varied_reference(
        image, size=(32, 32), augmentation=PLAIN.model_copy(update={"smallest_scale": 0.5}), random=random(seed)
    )
    inside = np.argwhere((shrunk < 230).all(axis=2))
    side = inside.max() - inside.min() + 1
    scale = 0.5 + 0.5 * random(seed).random(4)[1]
    assert side == pytest.approx(32 * scale, abs=2)
    assert inside.min() == pytest.approx((32 - side) / 2, abs=1)
    coloured = varied_reference(
        image, size=(32, 32), augmentation=PLAIN.model_copy(update={"colour": 0.2}), random=random(seed)
    )
    _, _, brightness, contrast = 0.8 + 0.4 * random(seed).random(4)
    expected = ((image.astype(float) - 128) * contrast + 128) * brightness
    assert np.abs(coloured - expected.clip(0, 255)).max() <= 0.5001
