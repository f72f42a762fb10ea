"""Evaluation on the demo: the mini model after stage 1, after stage 2, and after stage 2 that never heard audio.

    humo demo --out DEMO
    python -m tests.benchmarks.evaluation_demo --demo DEMO --out DIR

Trains the three on the demo film, renders and curates a second film (other looks, other speech, the same two people:
there are no others), makes a benchmark set of it, evaluates the three and the true clips, and prints the table. What is
there already is not made again; killed, it goes on. The people of the two films are the same, which two curations
cannot tell: the set says so, and so does everything that is told of it. On two quiet cores it takes about a
quarter of an hour, half of it for training.
"""

import argparse
from pathlib import Path

from pipeline.demo.film import render_film
from pipeline.demo.line import DEMO_CONFIG
from pipeline.demo.truth import TRUTH_FILE
from schemas.command_line import run
from training.config import TrainingConfig, load_config
from training.run_folder import RUN_FILE
from training.trainer import SWAPS, train

STEPS = 8
"""Of sampling; the mini model's own are 20."""
SECOND_FILM = 1
"""Its seed."""
TRUE = "true_clips"


def configurations() -> dict[str, TrainingConfig]:
    """Stage 1 is the beginning of stage 2's training, step for step."""
    whole = load_config("mini", [])
    first = {name: stage for name, stage in whole.stages.items() if name != "sync"}
    return {
        "stage_1": whole.model_copy(update={"stages": first}),
        "stage_2": whole,
        "stage_2_without_audio": load_config("mini", ["objective.dropout.audio=1"]),
    }


def humo(*arguments: object, failures: bool = False) -> None:
    """`failures`: whether it is well, too, where single items could not be done."""
    code = run([str(argument) for argument in arguments])
    if code != 0 and not (failures and code == 1):
        raise SystemExit(f"humo {arguments[0]} ended with {code}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluation of mini checkpoints.")
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    out, data = given.out, str(given.demo / "run" / "shards" / "manifest.json")
    film, second, cases = out / "film", out / "run", out / "cases"
    if not (film / TRUTH_FILE).exists():
        render_film(film, seed=SECOND_FILM)
    if not (second / "shards" / "manifest.json").exists():
        humo("curate", film, "--out", second, "--config", DEMO_CONFIG)
    for name, config in configurations().items():
        folder = out / "trained" / name
        if not (folder / SWAPS).exists():
            train(config, data=data, out=folder, resume=(folder / RUN_FILE).exists())
    manifest = second / "shards" / "manifest.json"
    checked = ["--trained", out / "trained" / "stage_2", "--trained-data", data, "--accept", "identity"]
    if not cases.exists():
        humo("cases", manifest, "--out", cases, *checked)
    asked = ["--cases", cases, "--steps", STEPS]
    for name in configurations():
        model = out / "trained" / name / "model"
        humo("evaluate", "--model", model, *asked, "--out", out / "eval" / name, failures=True)
    # A set keeps the true clips under its cases' names.
    humo("evaluate", "--videos", cases / "files", *asked, "--out", out / "eval" / TRUE, failures=True)
    named = [f"{name}={out / 'eval' / name}" for name in [*configurations(), TRUE]]
    humo("compare", *named, "--out", out / "page")


if __name__ == "__main__":
    main()
