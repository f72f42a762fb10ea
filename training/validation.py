"""What a run shows of its averaged weights on the way: losses on fixed noise, and videos made from held-out prompts."""

from collections.abc import Sequence
from pathlib import Path

import torch
from scipy.signal import resample_poly

from humo.checkpoints import Model
from humo.encoders import SAMPLE_RATE
from humo.generation import sample
from humo.guidance import Mode
from humo.video import AUDIO_RATE, write_video
from training.dataset import IndexRow
from training.encoding import BatchEncoder
from training.held_out import HeldOut
from training.parallel import World
from training.plan import Slot
from training.step import autocast

_BEYOND = 2
"""The step of its noise, behind those of the swap test."""


class Validation:
    """Measures the model as it is: the caller puts the averages in the weights' place."""

    def __init__(
        self, steady: HeldOut, rows: Sequence[IndexRow], *, whole: Model, encoder: BatchEncoder, world: World
    ) -> None:
        self._steady, self._whole, self._encoder, self._world = steady, whole, encoder, world
        self._settings = steady.config.validation
        self._slots = steady.slots(rows[: self._settings.samples], windows=1, beyond=_BEYOND)

    def measure(self, folder: Path) -> dict[str, float]:
        """Losses by name; the videos go into the folder, named by their samples. Every process calls it."""
        measured = self._losses()
        slots = [slot for of_bucket in self._slots.values() for slot in of_bucket]
        for slot in slots[: self._settings.videos]:
            self._video(slot, folder)
        return measured

    def _losses(self) -> dict[str, float]:
        sums = dict.fromkeys(("subject_loss", "subject", "sync_loss", "sync"), 0.0)
        size = self._steady.config.parallel.micro_batch or self._steady.config.data.batch // self._world.data_ranks
        for slots in self._slots.values():
            for start in range(0, len(slots), size * self._world.data_ranks):
                # Every process makes as many passes as the others; those with nothing to do repeat the last sample.
                places = [start + self._world.data_rank * size + number for number in range(size)]
                own = [slots[min(place, len(slots) - 1)] for place in places]
                encoded = self._steady.encode(self._encoder, own)
                errors_bthw = self._steady.errors(self._whole.transformer, encoded, encoded.conditions)
                for place, slot, error_thw, weight in zip(places, own, errors_bthw, encoded.weight_b, strict=True):
                    if place < len(slots) and weight > 0:
                        sums[f"{slot.task}_loss"] += float(error_thw.mean())
                        sums[slot.task] += 1
        sums = self._world.totals(sums)
        return {
            f"validation/loss_{task}": sums[f"{task}_loss"] / sums[task] for task in ("subject", "sync") if sums[task]
        }

    @torch.no_grad()
    def _video(self, slot: Slot, folder: Path) -> None:
        """The sample's caption, references and speech as a video."""
        model, defaults = self._whole, self._whole.defaults
        batch = self._steady.load([slot])
        encoded = self._encoder.encode(batch)
        given = encoded.conditions
        assert given.audio_btwgc is not None
        mode: Mode = "TIA" if slot.task == "sync" else "TI"
        # Of encoded data the first process alone has encoders.
        negative = self._world.from_first(lambda: self._encoder.text(defaults.negative_text))[None]
        with autocast(self._steady.config, self._world.device):
            latents = sample(
                model.transformer,
                noise=encoded.noise_bcthw,
                text=given.text_bld,
                text_negative=negative.to(self._world.device),
                audio_windows=given.audio_btwgc,
                reference=given.reference_bcrhw,
                zero_condition=given.zero_bcthw,
                mode=mode,
                steps=self._settings.video_steps,
                shift=model.shift,
                guidance=defaults.guidance.guidance(),
            )
        if self._world.first:
            pixels_thwc = model.codec.decode(latents)[0].permute(1, 2, 3, 0)
            frames = ((pixels_thwc + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
            speech = resample_poly(batch.waveform_bs[0].numpy(), AUDIO_RATE // SAMPLE_RATE, 1)
            folder.mkdir(parents=True, exist_ok=True)
            write_video(folder / f"{slot.row.key}.mp4", frames, speech if slot.task == "sync" else None)
