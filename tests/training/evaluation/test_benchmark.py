"""The form of a benchmark set, and that nothing of training is in it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.backends.signature import Signature
from schemas.command_line import run
from schemas.errors import UserError
from tests.training.sample_shards import encode_video
from training.config import load_config
from training.dataset import open_shard_set, pin_shard_set
from training.evaluation.cases import from_shards
from training.evaluation.cases.benchmark import Case, read_set, seed_of
from training.evaluation.cases.from_shards import choose, make_set, signature_of
from training.evaluation.cases.leaks import Origin, checked, find_leaks
from training.evaluation.folder import read_evaluation
from training.run_folder import PINNED, RUN_FILE


def still(seed: int) -> Signature:
    looks = np.random.default_rng(seed).standard_normal(144).astype(np.float32)
    return Signature(looks=looks / np.linalg.norm(looks), moves=np.zeros((0, 36), np.float32))


def origin(key: str, *, who: str = "", source: str = "", seed: int | None = None) -> Origin:
    number = sum(key.encode()) if seed is None else seed
    return Origin(
        key=key,
        identities=frozenset({who or f"p_{key}"}),
        sources=frozenset({source or f"s_{key}"}),
        signature=still(number),
    )


TRAINED = [origin("t1", who="p_ann", source="s_film"), origin("t2", who="p_bob", seed=77)]


@pytest.mark.parametrize(
    ("case", "kind", "named"),
    [
        (origin("c", who="p_ann"), "identity", "the identity p_ann with the training sample t1"),
        (origin("c", source="s_film"), "source", "the source s_film with the training sample t1"),
        (origin("c", seed=77), "near-duplicate", r"its pictures and movements \(0.000 apart\) with .* t2"),
    ],
)
def test_a_leak_is_refused_by_its_name(case: Origin, kind: str, named: str) -> None:
    leaks = find_leaks([origin("clean"), case], TRAINED, same_run=True)
    assert [leak.kind for leak in leaks] == [kind]
    with pytest.raises(UserError, match=f"{kind} leaks: 1 of 2 cases; the case c shares {named}"):
        checked(leaks, cases=2, same_run=True, accepted=[])
    told = {check.kind: check for check in checked(leaks, cases=2, same_run=True, accepted=[kind])}  # type: ignore[list-item]
    assert (told[kind].outcome, told[kind].accepted) == ("leaks", True)  # type: ignore[index]
    assert [check.outcome for check in told.values()].count("none") == 2


def test_people_of_two_curations_are_unknown_and_that_is_no_pass() -> None:
    leaks = find_leaks([origin("c", who="p_ann")], TRAINED, same_run=False)
    assert leaks == []
    with pytest.raises(UserError, match="identity is not known"):
        checked(leaks, cases=1, same_run=False, accepted=["source"])
    assert checked(leaks, cases=1, same_run=False, accepted=["identity"])[0].outcome == "unknown"


def test_a_copy_is_known_after_encoding_and_another_clip_is_not_taken_for_one() -> None:
    from pipeline.backends.signature import distance

    random = np.random.default_rng(0)

    def clip(seed: int) -> list[np.ndarray]:
        ground = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8).repeat(6, 0).repeat(6, 1)
        return [np.roll(ground, (index % 7) * 5, axis=1) for index in range(41)]

    pictures = clip(1)
    noisy = [(one + random.normal(0, 2, one.shape)).clip(0, 255).astype(np.uint8) for one in pictures]
    own = signature_of(encode_video(pictures))
    assert distance(own, signature_of(encode_video(noisy))) < 0.1
    assert distance(own, signature_of(encode_video(clip(2)))) > 0.5


def test_a_split_by_the_key_alone_leaks_the_person_and_is_refused(
    leaking_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cases", str(leaking_shards), "--out", str(tmp_path / "set")]) == 2
    told = capsys.readouterr().err
    assert "identity leaks" in told
    assert "shares the identity ann with the training sample" in told
    assert not (tmp_path / "set").exists()
    assert run(["cases", str(leaking_shards), "--out", str(tmp_path / "set"), "--accept", "identity"]) == 2
    assert "source leaks" in capsys.readouterr().err


def test_a_clean_split_is_a_set_and_comes_back_as_it_was(clean_shards: Path, tmp_path: Path) -> None:
    made = make_set(
        choose(str(clean_shards), trained=None, trained_data=None), tmp_path / "set", accepted=[], limit=None
    )
    assert [check.outcome for check in made.checks] == ["none"] * 3
    read, folder = read_set(tmp_path / "set")
    assert (read, folder) == (made, tmp_path / "set")
    case = read.cases[0]
    assert case.identities == ("eve",)
    assert case.speech is not None
    assert case.video is not None
    assert len(case.references) == 1
    with pytest.raises(UserError, match="is not empty"):
        make_set(choose(str(clean_shards), trained=None, trained_data=None), tmp_path / "set", accepted=[], limit=None)


def test_a_run_on_encoded_samples_is_checked_against_what_they_were_encoded_from(
    clean_shards: Path, leaking_shards: Path, tmp_path: Path
) -> None:
    shards = open_shard_set(str(clean_shards))
    trained = tmp_path / "trained"
    pin_shard_set(shards, trained / PINNED)
    learned = [row for row in shards.rows if row.split == "train"]
    encoded = {"fingerprint": "another", "encoded_from": shards.manifest.fingerprint}
    manifest = shards.manifest.model_copy(update=encoded)
    (trained / PINNED / "manifest.json").write_text(manifest.to_json())
    (trained / RUN_FILE).write_text(json.dumps({"config": load_config("mini", []).model_dump(mode="json")}))
    choice = choose(str(clean_shards), trained=trained, trained_data=None)
    assert (choice.same_run, choice.trained_shards.manifest) == (True, shards.manifest)
    assert {row.key for row in choice.trained} <= {row.key for row in learned}
    assert all(row.split == "val" for row in choice.asked)
    assert len(make_set(choice, tmp_path / "set", accepted=[], limit=None).cases) == len(choice.asked)
    with pytest.raises(UserError, match="encoded of other shards than .* --trained-data"):
        choose(str(leaking_shards), trained=trained, trained_data=None)
    elsewhere = choose(str(leaking_shards), trained=trained, trained_data=str(clean_shards))
    assert (elsewhere.same_run, elsewhere.words) == (False, "another curation")


def test_a_set_that_was_killed_half_way_is_made_by_the_same_command(
    clean_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    command = ["cases", str(clean_shards), "--out", str(tmp_path / "set")]
    with monkeypatch.context() as patch:
        patch.setattr(from_shards, "write_set", killed)
        assert run(command) == 130
    assert not (tmp_path / "set").exists()
    assert run(command) == 0
    assert [case.identities for case in read_set(tmp_path / "set")[0].cases] == [("eve",), ("eve",)]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_true_clips_of_a_set_are_measured_as_any_videos(clean_shards: Path, tmp_path: Path) -> None:
    cases, out = tmp_path / "set", tmp_path / "eval"
    assert run(["cases", str(clean_shards), "--out", str(cases)]) == 0
    assert run(["evaluate", "--videos", str(cases / "files"), "--cases", str(cases), "--out", str(out)]) == 0
    found = read_evaluation(out)
    assert {row.status for row in found.rows.values()} == {"ok"}
    assert [row.video_sha256 for row in found.rows.values()] == [
        case.video.sha256 for case in read_set(cases)[0].cases if case.video
    ]


def test_a_set_that_was_changed_is_refused(clean_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    made = make_set(choose(str(clean_shards), trained=None, trained_data=None), folder, accepted=[], limit=None)
    listed = folder / "cases.json"
    original = listed.read_text()
    content = json.loads(original)

    def refused(change: Callable[[dict], object], match: str) -> None:
        altered = json.loads(original)
        change(altered)
        listed.write_text(json.dumps(altered))
        with pytest.raises(UserError, match=match):
            read_set(folder)

    refused(lambda one: one["cases"][0].update(text="something easier"), "changed by hand")
    refused(lambda one: one.update(schema="humo.cases/9"), "has the form humo.cases/9")
    refused(lambda one: one.update(extra=1), "extra")
    refused(lambda one: one["cases"][0]["speech"].update(path="../../x.flac"), "outside the set")
    listed.write_text(original)
    speech = folder / content["cases"][0]["speech"]["path"]
    speech.write_bytes(speech.read_bytes()[:-1])
    with pytest.raises(UserError, match="is not the file that the set was made with"):
        read_set(folder)
    speech.unlink()
    with pytest.raises(UserError, match="lacks"):
        read_set(folder)
    assert made.fingerprint == content["fingerprint"]


def test_the_official_form_is_a_set_that_nothing_is_known_of(case_file: Path) -> None:
    read, _ = read_set(case_file)
    assert [case.name for case in read.cases] == list("abcdef")
    assert read.cases[0].text == "a person speaks, take 0"
    assert read.warnings == ["not known what this set shares with any training"]
    before = read.fingerprint
    content = json.loads(case_file.read_text())
    content["a"]["prompt"] = "another"
    case_file.write_text(json.dumps(content))
    assert read_set(case_file)[0].fingerprint != before
    content["a"]["img_paths"] = ["none.png"]
    case_file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"none\.png does not exist"):
        read_set(case_file)


def test_noise_is_a_case_s_own_and_the_same_for_every_model() -> None:
    cases = [Case(name=name, text="x") for name in "ab"]
    assert seed_of(cases[0], 0) == seed_of(Case(name="a", text="another"), 0)
    assert len({seed_of(case, seed) for case in cases for seed in (0, 1)}) == 4
    assert seed_of(Case(name="a", text="x", seed=7), 1) == 7
