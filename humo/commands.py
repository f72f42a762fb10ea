"""The commands `humo generate` and `humo convert`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from humo.request import check_frames, check_size, check_text, choose_mode
from schemas.errors import UserError


class ConvertTo(StrEnum):
    """What to write."""

    MODEL = "model"
    HUMO = "humo"
    WAN_DIFFUSERS = "wan-diffusers"


class ConvertForm(StrEnum):
    """See `humo.transformer.Form`."""

    OVERWRITE = "overwrite"
    CHANNELS = "channels"


def register(app: typer.Typer) -> None:
    """Add the package's commands."""
    app.command("generate")(generate)
    app.command("convert")(convert)


def generate(
    model: Annotated[Path, typer.Option(help="Folder of a model, such as a training run's.")],
    text: Annotated[str, typer.Option(help="What the video shows.")],
    out: Annotated[Path, typer.Option(help="The MP4 file to write.")],
    image: Annotated[
        list[Path] | None, typer.Option(help="Reference image of a person or thing; give it again for more.")
    ] = None,
    audio: Annotated[Path | None, typer.Option(help="Speech: a sound or video file.")] = None,
    frames: Annotated[
        str | None, typer.Option(help="4n+1 frames at 25 a second, or `audio` for the speech's length.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in pixels, divisible by 16.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampling steps.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed repeats the video.")] = 0,
    mode: Annotated[
        str | None, typer.Option(help="TIA, TA, TI or T: which of text, image, audio to use. Default: all given.")
    ] = None,
) -> None:
    """Make a video of a person from text, reference images and speech."""
    height, width = parse_size(size)
    chosen = choose_mode(mode, images=bool(image), speech=audio is not None)
    if out.suffix.lower() != ".mp4":
        raise UserError(f"{out} does not end in .mp4")
    if not out.parent.is_dir():
        raise UserError(f"the folder {out.parent} does not exist")
    check_text(text)

    from humo.inputs import read_audio, read_image

    images = [read_image(path) for path in image or []]
    speech = None if audio is None else read_audio(audio)
    wanted_frames = parse_frames(frames, None if speech is None else len(speech))

    import torch

    from humo.pipeline import HuMoPipeline
    from humo.progress import step_progress
    from humo.video import AUDIO_RATE, write_video

    cuda = torch.cuda.is_available()
    pipeline = HuMoPipeline.from_directory(
        model, device=torch.device("cuda" if cuda else "cpu"), dtype=torch.bfloat16 if cuda else torch.float32
    )
    with step_progress("generating") as on_step:
        video = pipeline.generate(
            text=text,
            images=images,
            speech_s=speech,
            frames=wanted_frames,
            height=height,
            width=width,
            steps=steps,
            seed=seed,
            mode=chosen,
            on_step=on_step,
        )
    write_video(out, video, None if audio is None else read_audio(audio, AUDIO_RATE))
    seconds = len(video) / 25
    typer.echo(f"{out}: {len(video)} frames of {video.shape[1]}x{video.shape[2]}, {seconds:.2f} s")


def convert(
    source: Annotated[
        Path, typer.Argument(help="HuMo or Wan2.1 weights (a file or its folder); or a model's folder, with --to.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    to: Annotated[
        ConvertTo, typer.Option(help="model: a model's folder. humo, wan-diffusers: from a model's folder to these.")
    ] = ConvertTo.MODEL,
    form: Annotated[
        ConvertForm | None,
        typer.Option(help="For Wan2.1 weights: how references enter. 1.7B: overwrite; 17B: channels."),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads, if no config.json beside the weights tells.")
    ] = None,
    leave_aside: Annotated[
        list[str] | None, typer.Option(help="Pattern of keys the model does not know and may do without.")
    ] = None,
    encoders: Annotated[Path | None, typer.Option(help="A model's folder whose encoders to copy.")] = None,
) -> None:
    """Turn checkpoints into a model's folder, and back into the official layout."""
    from humo.convert import PARTS, export_weights, import_weights

    if to is not ConvertTo.MODEL:
        if form is not None or heads is not None or leave_aside or encoders is not None:
            raise UserError(f"--form, --heads, --leave-aside and --encoders are not for --to {to.value}")
        done = export_weights(source, out, target="humo" if to is ConvertTo.HUMO else "wan-diffusers")
    else:
        done = import_weights(
            source,
            out,
            form=None if form is None else form.value,
            heads=heads,
            extras=tuple(leave_aside or ()),
            encoders=encoders,
        )
    for key in done.left_aside:
        typer.echo(f"left aside: {key}")
    if done.new:
        typer.echo(f"made new: {len(done.new)} parameters, such as {done.new[0]}")
    typer.echo(f"{out}: {done.parameters:,} parameters, form {done.form}")
    if to is ConvertTo.MODEL and encoders is None:
        typer.echo(f"now put the encoders into {', '.join(str(out / part) for part in PARTS)}")


def parse_size(size: str | None) -> tuple[int | None, int | None]:
    """`HEIGHTxWIDTH` to two numbers."""
    if size is None:
        return None, None
    height, _, width = size.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise UserError(f"the size {size!r} is not HEIGHTxWIDTH, such as 480x832")
    check_size(int(height), int(width))
    return int(height), int(width)


def parse_frames(frames: str | None, samples: int | None) -> int | None:
    """A number, or for `audio` the most 4n+1 frames that the speech fills (at least one)."""
    if frames is None:
        return None
    if frames == "audio":
        if samples is None:
            raise UserError("--frames audio needs --audio")
        return 4 * ((max(1, samples // 640) - 1) // 4) + 1
    if not frames.isdecimal():
        raise UserError(f"--frames takes a number 4n+1 or the word audio, not {frames!r}")
    check_frames(int(frames))
    return int(frames)
