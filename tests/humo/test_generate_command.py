"""`humo generate`, from the command line to the file."""

import json
from pathlib import Path

import av
import numpy
import pytest
import soundfile
import torch
from PIL import Image

from humo.cases import Request, read_cases
from humo.int8 import Int8Linear
from humo.pipeline import HuMoPipeline
from humo.settings import read_guidance
from humo.transformer import HuMoTransformer
from schemas.command_line import run
from schemas.errors import UserError


@pytest.fixture
def face(tmp_path: Path) -> Path:
    pixels = numpy.random.default_rng(0).integers(0, 256, (40, 30, 3), numpy.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    return tmp_path / "face.png"


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    times = numpy.arange(16000) / 16000
    soundfile.write(tmp_path / "speech.wav", 0.3 * numpy.sin(2 * numpy.pi * 300 * times), 16000)
    return tmp_path / "speech.wav"


@pytest.fixture
def pipeline(mini_directory: Path) -> HuMoPipeline:
    return HuMoPipeline.from_directory(mini_directory, device=torch.device("cpu"), dtype=torch.float32)


def command(model: Path, out: Path, *arguments: str | Path) -> list[str]:
    given = [str(argument) for argument in arguments]
    text = [] if "--text" in given else ["--text", "A woman speaks"]
    return ["generate", "--model", str(model), "--out", str(out), "--steps", "2", *text, *given]


def streams(path: Path) -> tuple[int, int, int, float, bool]:
    """Frames, height, width, frame rate, whether there is sound."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rate = float(container.streams.video[0].average_rate)
        return len(frames), *frames[0].shape[:2], rate, bool(container.streams.audio)


def test_text_reference_and_speech_make_a_video(
    mini_directory: Path, face: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "v.mp4"
    assert run(command(mini_directory, out, "--image", face, "--image", face, "--audio", speech)) == 0
    assert streams(out) == (17, 64, 64, 25.0, True)
    printed = capsys.readouterr()
    assert printed.out == f"{out}: 17 frames of 64x64, 0.68 s\n"
    assert "step 2 of 2" in printed.err


def test_length_of_the_speech_and_a_portrait_size(mini_directory: Path, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.mp4"
    assert run(command(mini_directory, out, "--audio", speech, "--frames", "audio", "--size", "48x32")) == 0
    assert streams(out) == (25, 48, 32, 25.0, True)


def test_8_bits_offloading_and_compiling_are_options(
    mini_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_blocks = HuMoTransformer.compile_repeated_blocks
    compiled: list[HuMoTransformer] = []

    def without_a_compiler(model: HuMoTransformer) -> None:
        compiled.append(model)
        compile_blocks(model, backend="eager")

    monkeypatch.setattr(HuMoTransformer, "compile_repeated_blocks", without_a_compiler)
    out = tmp_path / "v.mp4"
    options = ["--frames", "5", "--weights", "int8", "--offload", "model", "--compile"]
    assert run(command(mini_directory, out, *options)) == 0
    assert streams(out) == (5, 64, 64, 25.0, False)
    assert isinstance(compiled[0].blocks[0].ffn[0], Int8Linear)


def test_text_alone_makes_a_silent_video(mini_directory: Path, tmp_path: Path) -> None:
    assert run(command(mini_directory, tmp_path / "v.mp4", "--frames", "1")) == 0
    assert streams(tmp_path / "v.mp4") == (1, 64, 64, 25.0, False)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--text", "  "], "the text is empty"),
        (["--frames", "18"], "4n+1"),
        (["--frames", "many"], "--frames takes"),
        (["--frames", "audio"], "--frames audio needs --audio"),
        (["--size", "60x64"], "divide by 16"),
        (["--size", "0x64"], "divide by 16"),
        (["--size", "big"], "HEIGHTxWIDTH"),
        (["--image", "none.png"], "none.png does not exist"),
        (["--image", "{text}"], "no readable image"),
        (["--audio", "none.wav"], "none.wav does not exist"),
        (["--audio", "{text}"], "no readable audio"),
        (["--mode", "TIA"], "needs a reference image"),
        (["--mode", "TA"], "needs speech"),
        (["--mode", "X"], "none of TIA"),
        (["--compile", "--offload", "blocks"], "cannot be compiled"),
        (["--model", "none"], "none does not exist"),
        (["--steps", "0"], "--steps"),
        (["--out", "v.avi"], ".mp4"),
        (["--out", "no/folder/v.mp4"], "the folder no/folder does not exist"),
    ],
)
def test_mistakes_get_one_line_and_exit_2(
    arguments: list[str],
    complaint: str,
    mini_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "words.txt").write_text("neither image nor sound")
    filled = [argument.format(text=tmp_path / "words.txt") for argument in arguments]
    assert run(command(mini_directory, tmp_path / "v.mp4", *filled)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("humo: ")
    assert complaint in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "v.mp4").exists()


def test_many_cases_of_which_one_fails(
    mini_directory: Path, face: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {
        "first": {"prompt": '"A_woman speaks"', "img_paths": ["face.png"], "audio_path": "speech.wav"},
        "second": {"prompt": "A man", "img_paths": None, "audio_path": None, "frames": 5, "size": "32x48", "seed": 4},
        "broken": {"prompt": "A man", "img_paths": ["none.png"]},
    }
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    arguments = ["generate", "--model", mini_directory, "--cases", tmp_path / "cases.json", "--out", tmp_path / "out"]
    assert run([*map(str, arguments), "--steps", "1", "--size", "64x32"]) == 1
    printed = capsys.readouterr()
    assert "broken: not made: the reference image none.png does not exist" in printed.err
    assert printed.err.endswith("humo: 1 of 3 cases were not made\n")
    assert streams(tmp_path / "out" / "first.mp4") == (17, 64, 32, 25.0, True)
    assert streams(tmp_path / "out" / "second.mp4") == (5, 32, 48, 25.0, False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["first.mp4", "second.mp4"]


def test_official_texts_and_defaults_of_cases(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"a": {"prompt": ' "A_b" '}, "b": {"prompt": "c", "seed": 0}}))
    requests = read_cases(tmp_path / "c.json", otherwise=Request(text="", seed=3, size="64x64"))
    # Quotes go only after the spaces, as in the official code.
    assert requests["a"] == Request(text="A b", seed=3, size="64x64")
    assert requests["b"].seed == 0


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[]", "no JSON object of cases"),
        ("{", "is no JSON"),
        ('{"../a": {"prompt": "x"}}', "cannot name a file"),
        ('{"a": {"img_paths": []}}', "a: prompt: Field required"),
        ('{"a": {"prompt": "x", "itp": 3}}', "a: itp: Extra"),
        ('{"a": {"prompt": "x", "seed": -1}}', "a: seed"),
    ],
)
def test_case_files_that_are_none(content: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(UserError, match=complaint):
        read_cases(tmp_path / "c.json", otherwise=Request(text=""))


def test_the_mark_can_be_left_out(mini_directory: Path, tmp_path: Path) -> None:
    for name, switch in (("marked", []), ("plain", ["--no-mark"])):
        assert run(command(mini_directory, tmp_path / f"{name}.mp4", "--frames", "1", *switch)) == 0
        with av.open(str(tmp_path / f"{name}.mp4")) as container:
            assert ("AI-generated" in container.metadata.get("comment", "")) == (name == "marked")


def test_a_guidance_file(mini_directory: Path, tmp_path: Path) -> None:
    own = {"T": [{"contrasts": [{"towards": "T", "away": "0", "scale": [[1000, 1.0], [0, 3.0]]}]}]}
    path = tmp_path / "g.json"
    path.write_text(json.dumps({"form": "own", "modes": own}))
    weights = read_guidance(path).weights("T", 500)
    assert weights == {"T": 2.0, "0": -1.0}
    assert run(command(mini_directory, tmp_path / "v.mp4", "--frames", "1", "--guidance", path)) == 0
    own["T"][0]["above"] = 500
    path.write_text(json.dumps({"form": "own", "modes": own}))
    with pytest.raises(UserError, match="the last must leave it out"):
        read_guidance(path)
    with pytest.raises(UserError, match="does not exist"):
        read_guidance(tmp_path / "none.json")


@pytest.mark.parametrize("size", [(48, 32), (32, 48), (32, 32)])
@pytest.mark.parametrize(
    ("frames", "references", "seconds"), [(17, 0, 0.2), (97, 1, 9.0), (193, 4, 0.0), (17, 3, None)]
)
def test_shapes_references_and_sound_of_any_length(
    pipeline: HuMoPipeline, size: tuple[int, int], frames: int, references: int, seconds: float | None
) -> None:
    speech = None if seconds is None else numpy.zeros(int(16000 * seconds), numpy.float32)
    images = [numpy.full((20, 30, 3), 60 * index, numpy.uint8) for index in range(references)]
    made = pipeline(
        "A man", images=images, speech_s=speech, num_frames=frames, height=size[0], width=size[1], num_inference_steps=1
    )
    assert made.shape == (frames, *size, 3)
    assert made.std() > 0


def test_seeds_repeat_and_differ(pipeline: HuMoPipeline) -> None:
    first, again, other = (pipeline.generate(text="A man", frames=5, steps=2, seed=seed) for seed in (1, 1, 2))
    assert first.shape == (5, 64, 64, 3)
    assert numpy.array_equal(first, again)
    assert not numpy.array_equal(first, other)


def test_every_condition_changes_the_video(pipeline: HuMoPipeline) -> None:
    face = numpy.random.default_rng(0).integers(0, 256, (40, 30, 3), numpy.uint8)
    speech = numpy.sin(numpy.arange(16000) / 8).astype(numpy.float32)
    given = {"text": "A man", "images": [face], "speech_s": speech, "frames": 9, "steps": 2}
    video = pipeline.generate(**given)
    for change in ({"text": "Two dogs"}, {"images": [255 - face]}, {"images": [face, face]}, {"speech_s": 0 * speech}):
        assert not numpy.array_equal(video, pipeline.generate(**{**given, **change}))
    # A mode without a condition does not look at it.
    without = pipeline.generate(**{**given, "mode": "TI"})
    assert numpy.array_equal(without, pipeline.generate(**{**given, "speech_s": None}))


def test_speech_shorter_than_the_video_ends_in_silence(pipeline: HuMoPipeline) -> None:
    short = numpy.sin(numpy.arange(3000) / 8).astype(numpy.float32)
    assert pipeline.generate(text="A man", speech_s=short, frames=17, steps=1).shape[0] == 17
    assert pipeline.generate(text="A man", speech_s=short[:0], frames=5, steps=1).shape[0] == 5


def test_the_channels_form_gets_a_grey_condition(tmp_path: Path) -> None:
    from humo.checkpoints import save_model_dir
    from humo.mini.model import mini_model

    model = mini_model(seed=0, form="channels")
    torch.nn.init.normal_(model.transformer.head.head.weight, std=0.05)
    save_model_dir(tmp_path / "m", model)
    loaded = HuMoPipeline.from_directory(tmp_path / "m", device=torch.device("cpu"), dtype=torch.float32)
    face = numpy.zeros((32, 32, 3), numpy.uint8)
    made = loaded.generate(text="A man", images=[face, face], frames=5, height=32, width=32, steps=2)
    assert made.shape == (5, 32, 32, 3)


@pytest.mark.parametrize("wrong", [{"text": ""}, {"frames": 6}, {"height": 40}, {"mode": "TIA"}])
def test_the_pipeline_checks_for_itself(pipeline: HuMoPipeline, wrong: dict[str, object]) -> None:
    with pytest.raises(UserError):
        pipeline.generate(**{"text": "A man", "frames": 5, "steps": 1, **wrong})
