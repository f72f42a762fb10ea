"""Configuration: files, settings over them, and one clear line for what is wrong."""

from pathlib import Path

import pytest

from schemas.configuration import Configuration, merged, parse_settings, read_yaml, validated
from schemas.errors import UserError


class Inner(Configuration):
    frames: int = 97


class Outer(Configuration):
    clips: Inner = Inner()


def test_settings_lie_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("clips:\n  frames: 49\n")
    over = parse_settings(["clips.frames=17"])
    assert validated(Outer, merged(read_yaml(file), over), where="c").clips.frames == 17
    assert validated(Outer, read_yaml(file), where="c").clips.frames == 49


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("clips.frame=17", "unknown option 'clips.frame'; did you mean 'clips.frames'?"),
        ("clips.colour=red", "unknown option 'clips.colour'; there are "),
        ("clips.frames=many", "clips.frames"),
        ("clip.frames=17", "unknown option 'clip'"),
        ("frames", "must look like"),
        (".=1", "must look like"),
        ("clips.frames=[", "not YAML"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        validated(Outer, parse_settings([setting]), where="--set")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a list", "a: [", "!!python/object/apply:os.system [ls]"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UserError):
        read_yaml(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_yaml(tmp_path / "none.yaml")
