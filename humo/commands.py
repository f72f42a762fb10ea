"""The commands `humo generate` and `humo convert`."""

from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import UserError, WorkFailed


class ConvertTo(StrEnum):
    """What to write."""

    MODEL = "model"
    HUMO = "humo"
    WAN_DIFFUSERS = "wan-diffusers"


class OffloadChoice(StrEnum):
    """See `humo.offload.Offload`."""

    NONE = "none"
    MODEL = "model"
    BLOCKS = "blocks"


class WeightsChoice(StrEnum):
    """See `humo.checkpoints.Weights`."""

    FULL = "full"
    INT8_TEXT = "int8-text"
    INT8 = "int8"


class ConvertForm(StrEnum):
    """See `humo.transformer.Form`."""

    OVERWRITE = "overwrite"
    CHANNELS = "channels"


def register(app: typer.Typer) -> None:
    """Add the package's commands."""
    app.command("generate")(generate)
    app.command("convert")(convert)


def generate(
    model: Annotated[Path, typer.Option(help="Folder of a model, such as `model/` in a training run's.")],
    out: Annotated[Path, typer.Option(help="The MP4 file to write; with --cases, the folder to write them into.")],
    text: Annotated[str | None, typer.Option(help="What the video shows.")] = None,
    image: Annotated[
        list[Path] | None, typer.Option(help="Reference image of a person or thing; give it again for more.")
    ] = None,
    audio: Annotated[Path | None, typer.Option(help="Speech: a sound or video file.")] = None,
    cases: Annotated[
        Path | None, typer.Option(help="JSON file of many videos instead of one; HuMo's test_case.json form.")
    ] = None,
    frames: Annotated[
        str | None, typer.Option(help="4n+1 frames at 25 a second, or `audio` for the speech's length.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in pixels, divisible by 16.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Sampling steps.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed repeats the video.")] = 0,
    mode: Annotated[
        str | None, typer.Option(help="TIA, TA, TI or T: which of text, image, audio to use. Default: all given.")
    ] = None,
    guidance: Annotated[
        Path | None, typer.Option(help="JSON file with a guidance of your own; see humo/settings.py.")
    ] = None,
    offload: Annotated[
        OffloadChoice,
        typer.Option(help="What leaves the GPU while it rests: model (whole parts), blocks (layers too)."),
    ] = OffloadChoice.NONE,
    weights: Annotated[
        WeightsChoice,
        typer.Option(help="Linear layers in 8 bits: the text encoder's (int8-text), all (int8)."),
    ] = WeightsChoice.FULL,
    compile_blocks: Annotated[
        bool, typer.Option("--compile", help="Compile the transformer's blocks: minutes once, faster steps.")
    ] = False,
    reuse: Annotated[
        float | None,
        typer.Option(min=0, help="Skip the blocks in steps whose input changed by less, such as 0.1; says how exact."),
    ] = None,
    mark: Annotated[bool, typer.Option(help="Say in the file's metadata that the video is AI-generated.")] = True,
) -> None:
    """Make videos of people from text, reference images and speech."""
    from humo.cases import Request, read_cases

    if cases is not None and (text is not None or image or audio is not None):
        raise UserError("--cases brings its own texts, images and speech; leave --text, --image and --audio out")
    if cases is None and text is None:
        raise UserError("say what the video shows with --text, or give --cases")
    if compile_blocks and offload is OffloadChoice.BLOCKS:
        raise UserError("blocks that are streamed cannot be compiled; leave --compile out or take --offload model")
    given = Request(
        text=text or "",
        images=tuple(image or ()),
        audio=audio,
        frames=frames,
        size=size,
        steps=steps,
        seed=seed,
        mode=mode,
    )
    if cases is None:
        if out.suffix.lower() != ".mp4":
            raise UserError(f"{out} does not end in .mp4")
        if not out.parent.is_dir():
            raise UserError(f"the folder {out.parent} does not exist")
        requests = {out: given}
    else:
        requests = {out / f"{name}.mp4": case for name, case in read_cases(cases, otherwise=given).items()}

    from humo.jobs import check_request, make_video
    from humo.settings import read_guidance

    wanted = None if guidance is None else read_guidance(guidance)
    if cases is None:
        check_request(given)

    import torch

    from humo.pipeline import HuMoPipeline
    from humo.sequence_parallel import local_rank, sequence_split, torchrun_group

    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local_rank()) if cuda else torch.device("cpu")
    with ExitStack() as stack:
        processes = stack.enter_context(torchrun_group(device))
        first = processes is None or processes.rank() == 0
        pipeline = HuMoPipeline.from_directory(
            model,
            device=device,
            dtype=torch.bfloat16 if cuda else torch.float32,
            offload=offload.value,
            weights=weights.value,
        )
        if processes is not None:
            stack.enter_context(sequence_split(pipeline.parts.transformer, processes))
            pipeline = replace(pipeline, processes=processes.size())
        if compile_blocks:
            pipeline.parts.transformer.compile_repeated_blocks()  # type: ignore[no-untyped-call]
        if cases is not None:
            out.mkdir(parents=True, exist_ok=True)
        failed = 0
        for path, request in requests.items():
            try:
                line = make_video(pipeline, request, path, guidance=wanted, mark=mark, write=first, reuse=reuse)
            except UserError as error:
                if cases is None:
                    raise
                failed += 1
                if first:
                    typer.echo(f"{path.stem}: not made: {error}", err=True)
            else:
                if first:
                    typer.echo(line)
    if failed:
        raise WorkFailed(f"{failed} of {len(requests)} cases were not made")


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
