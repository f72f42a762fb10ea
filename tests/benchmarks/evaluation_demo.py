"""Evaluation on the demo: the mini model after stage 1, after stage 2, and after stage 2 that never heard audio.

    humo demo --out DEMO
    python -m tests.benchmarks.evaluation_demo --demo DEMO --out DIR

Trains the three on the demo film, renders and curates a second film (other looks, other speech, the same two people:
there are no others), makes a benchmark set of it, evaluates the three and the true clips, and prints the table. What is
there already is not made again. The people of the two films are the same, which two curations cannot tell: the set
says so, and so does everything that is told of it.
"""

import argparse
from pathlib import Path

from pipeline.demo.film import render_film
from pipeline.demo.line import DEMO_CONFIG
from pipeline.demo.truth import TRUTH_FILE
from schemas.command_line import run
from training.config import TrainingConfig, load_config
from training.trainer import train

CASES, STEPS = 12, 8
SECOND_FILM = 1
"""Its seed."""


def configurations() -> dict[str, TrainingConfig]:
    """Stage 1 is the beginning of stage 2's training, step for step."""
    whole = load_config("mini", [])
    first = {name: stage for name, stage in whole.stages.items() if name != "sync"}
    return {
        "stage_1": whole.model_copy(update={"stages": first}),
        "stage_2": whole,
        "stage_2_without_audio": load_config("mini", ["objective.dropout.audio=1"]),
    }


def humo(*arguments: object) -> None:
    if run([str(argument) for argument in arguments]) != 0:
        raise SystemExit(f"humo {arguments[0]} did not end well")


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
        if not (folder / "swap_test.json").exists():
            train(config, data=data, out=folder, resume=folder.exists())
    manifest = second / "shards" / "manifest.json"
    checked = ["--trained", out / "trained" / "stage_2", "--trained-data", data, "--accept", "identity"]
    if not (cases / "cases.json").exists():
        humo("cases", manifest, "--out", cases, "--limit", CASES, *checked)
    for name in configurations():
        humo(
            "evaluate",
            "--model",
            out / "trained" / name / "model",
            "--cases",
            cases,
            "--out",
            out / "eval" / name,
            "--steps",
            STEPS,
        )
    named = [f"{name}={out / 'eval' / name}" for name in configurations()]
    humo("compare", *named, "--out", out / "page")


if __name__ == "__main__":
    main()
