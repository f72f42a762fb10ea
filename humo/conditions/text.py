"""Text as the encoder gets it."""

import html

import ftfy

NEGATIVE_TEXT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"  # noqa: RUF001
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"  # noqa: RUF001
    "杂乱的背景，三条腿，背景人很多，倒着走"  # noqa: RUF001
)
"""Wan's standard negative prompt, which the released weights were tuned with: its exact characters matter."""


def clean_text(text: str) -> str:
    """Mended encoding, HTML entities resolved twice, white space collapsed (official code)."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())
