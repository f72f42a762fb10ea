"""One requested video, from its files to its file; the requests of a command."""

from contextlib import nullcontext
from pathlib import Path

from humo.cases import Request
from humo.encoders import SAMPLES_PER_FRAME
from humo.guidance import Guidance
from humo.inputs import read_audio, read_image
from humo.pipeline import HuMoPipeline
from humo.progress import step_progress
from humo.request import check_frames, check_size, check_text, choose_mode
from humo.residual_cache import Reuse
from humo.video import AUDIO_RATE, write_video
from schemas.errors import UserError


def check_request(request: Request) -> None:
    """Raises UserError for what can be told wrong before a model is loaded."""
    check_text(request.text)
    choose_mode(request.mode, images=bool(request.images), speech=request.audio is not None)
    parse_size(request.size)
    for image in request.images:
        read_image(image)
    samples = None if request.audio is None else len(read_audio(request.audio))
    parse_frames(request.frames, samples)


def make_video(
    pipeline: HuMoPipeline,
    request: Request,
    out: Path,
    *,
    guidance: Guidance | None,
    mark: bool,
    write: bool = True,
    reuse: float | None = None,
) -> str:
    """Generate one video and write its file; a line that says what was made.

    `write`: false in the processes that only help another one; they write nothing and show no progress.
    `reuse`: the threshold of `humo.residual_cache`; the line then also says what came of it.

    Raises UserError as `check_request` and `HuMoPipeline.generate` do.
    """
    check_request(request)
    height, width = parse_size(request.size)
    account = None if reuse is None else Reuse(threshold=reuse)
    speech = None if request.audio is None else read_audio(request.audio)
    with step_progress("generating") if write else nullcontext() as on_step:
        video = pipeline.generate(
            text=request.text,
            images=[read_image(path) for path in request.images],
            speech_s=speech,
            frames=parse_frames(request.frames, None if speech is None else len(speech)),
            height=height,
            width=width,
            steps=request.steps,
            seed=request.seed,
            mode=choose_mode(request.mode, images=bool(request.images), speech=speech is not None),
            guidance=guidance,
            on_step=on_step,
            reuse=account,
        )
    sound = None if request.audio is None else read_audio(request.audio, AUDIO_RATE)
    if write:
        write_video(out, video, sound, mark=mark)
    made = f"{out}: {len(video)} frames of {video.shape[1]}x{video.shape[2]}, {len(video) / 25:.2f} s"
    return made if account is None else f"{made}; {account.told()}"


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
        return 4 * ((max(1, samples // SAMPLES_PER_FRAME) - 1) // 4) + 1
    if not frames.isdecimal():
        raise UserError(f"--frames takes a number 4n+1 or the word audio, not {frames!r}")
    check_frames(int(frames))
    return int(frames)
