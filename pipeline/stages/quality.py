"""Quality: how sharp, bright and lively a clip is, a signature to tell copies by, and a strip of frames to look at."""

import hashlib

import cv2
import numpy as np

from pipeline.backends import overlaid_text
from pipeline.backends.black_bars import Depths, bar_area, depths_of_gray, picture_within
from pipeline.backends.picture_motion import PictureMotion
from pipeline.backends.sharpness import sharpness
from pipeline.backends.signature import EVERY, SignatureMeter, small_picture
from pipeline.stage import Clip, ClipFrame, FrameMeter, FramesHWC, Gray, Measured, Media, Unmeasurable
from pipeline.stages.options.quality import QualityConfig

STRIP_FRAMES = 5
STRIP_WIDTH_PX = 160
JPEG_QUALITY = 82
BARS_EVERY = 4
"""Of the frames that are looked at closely, every fourth is searched for black bars."""
TEXT_LOOKS = 4
"""Times in a clip at which text is searched for, each in two frames."""


class QualityStage:
    """Measures from pixels; what is good enough is decided later."""

    name = "quality"
    backend = f"opencv {cv2.__version__}, text by {overlaid_text.BACKEND}"

    def __init__(self, config: QualityConfig) -> None:
        self._config = config

    def start(self, clip: Clip) -> FrameMeter:
        """See FrameStage."""
        return _QualityMeter(clip, self._config)


class _QualityMeter:
    """Keeps one small picture of the frame before, the signature's cells, and the strip."""

    def __init__(self, clip: Clip, config: QualityConfig) -> None:
        self._clip = clip
        self._every = config.every
        self._sharpness: list[float] = []
        self._luma: list[float] = []
        self._contrast: list[float] = []
        self._motion: list[float] = []
        self._before: Gray | None = None
        self._moved = PictureMotion()
        self._depths: list[Depths] = []
        self._signature = SignatureMeter()
        self._strip_at = set(np.linspace(0, clip.frames - 1, STRIP_FRAMES).round().astype(int).tolist())
        self._strip: list[FramesHWC] = []
        last = clip.frames - 1 - overlaid_text.LAG
        self._text_at = {round((look + 0.5) / TEXT_LOOKS * last) for look in range(TEXT_LOOKS)} if last >= 0 else set()
        self._text_in: dict[int, Gray] = {}
        """Frame -> its picture, until the frame comes that it is compared with."""
        self._text: list[float] = []

    def add(self, index: int, frame: ClipFrame) -> None:
        gray_hw = frame.gray_hw
        small = small_picture(gray_hw)
        change = None
        if self._before is not None:
            change = float(cv2.mean(cv2.absdiff(small, self._before))[0])
            self._motion.append(change / 255)
        self._before = small
        self._moved.add(small, change, compare=index % self._every == 0)
        if index % EVERY == 0:
            self._signature.add(small)
        if index % self._every == 0:
            mean, spread = cv2.meanStdDev(gray_hw)
            self._luma.append(float(mean[0, 0]) / 255)
            self._contrast.append(float(spread[0, 0]) / 255)
            value = sharpness(gray_hw)
            if value is not None:
                self._sharpness.append(value)
        if index % (self._every * BARS_EVERY) == 0:
            self._depths.append(depths_of_gray(gray_hw))
        if index in self._text_at:
            self._text_in[index] = gray_hw
        if index - overlaid_text.LAG in self._text_in:
            self._text.append(overlaid_text.text_area(self._text_in.pop(index - overlaid_text.LAG), gray_hw))
        if index in self._strip_at:
            height = max(1, round(gray_hw.shape[0] * STRIP_WIDTH_PX / gray_hw.shape[1]))
            resized = cv2.resize(frame.rgb_hwc, (STRIP_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
            self._strip.append(resized.astype(np.uint8, copy=False))

    def finish(self) -> Measured:
        """One row of `quality`.

        sharpness: share of fine detail, 0 (blurred) to about 1; NULL in a picture without any structure.
        luma, contrast: mean and standard deviation of the grey values, 0 to 1.
        motion: mean change of a point of a picture of 96 x 96 from one frame to the next (40 ms), 0 to 1.
        camera_motion: shift of the picture as a whole, in frames a second (see PictureMotion); NULL if it never tells.
        repeated: share of frames that show the one before again, 0 to 1: a lower rate than 25, or a still.
        longest_still_s: longest time without any change, in seconds.
        blocking: how far steps across the edges of compression blocks exceed those elsewhere, 0 none; of the source.
        combing: share of pixels that are teeth of interlacing, 0 to 1; of the source.
        bars: share of the picture that is letterbox or pillarbox; 0 where a dark scene does not tell.
        text_area: share of the picture that lines of text cover, over time, 0 to 1: a subtitle of one line has about
            0.02 while it stands. Weak (see overlaid_text); NULL in a clip of under five frames.
        """
        if not self._luma:
            raise Unmeasurable("the clip has no frames")
        strip = cv2.imencode(
            ".jpg",
            cv2.cvtColor(np.hstack(self._strip), cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
        )[1].tobytes()
        causes: list[str] = []
        if not self._text:
            causes.append("too short to tell text from texture")
        if not self._sharpness:
            causes.append("nothing to judge sharpness by")
        row = {
            "id": self._clip.id,
            "error": "; ".join(causes) or None,
            "sharpness": float(np.median(self._sharpness)) if self._sharpness else None,
            "luma": float(np.mean(self._luma)),
            "contrast": float(np.mean(self._contrast)),
            "motion": float(np.mean(self._motion)) if self._motion else None,
            "camera_motion": self._moved.camera,
            "repeated": self._moved.repeated,
            "longest_still_s": self._moved.longest_still_s,
            "blocking": self._clip.blocking,
            "combing": self._clip.combing,
            "text_area": float(np.mean(self._text)) if self._text else None,
            "bars": bar_area(picture) if (picture := picture_within(self._depths)) else 0.0,
            "signature": self._signature.to_bytes(),
            "thumbnail_sha256": hashlib.sha256(strip).hexdigest(),
        }
        return Measured(rows={"quality": [row]}, media=[Media(kind="thumbnails", data=strip, suffix=".jpg")])
