"""What each part of the training is good for: the mini model without it, on the same data.

    python -m tests.benchmarks.ablations --data MANIFEST --out DIR [--only NAME]...

Trains `mini` once as it is and once without each part, all else equal, draws included, and prints a table of the last
steps' loss and of the swap tests. A run that is there already is not made again. Each row's command is `humo train
--config mini --data MANIFEST --out DIR/NAME` with the settings of `WITHOUT`.
"""

import argparse
import json
from pathlib import Path

from training.config import load_config
from training.trainer import train

WITHOUT = {
    "all of it": [],
    "no audio": ["objective.dropout.audio=1"],
    "no reference": ["objective.dropout.image=1"],
    "no mask loss": ["objective.mask_weight=0"],
    "no curriculum": ["stages.sync.sync_share={start: 0.65, end: 0.65}"],
    "no stage before the paper's": ["stages.start.trains=[self_attention]"],
}
LAST = 100
"""Steps whose mean loss is told."""


def row(name: str, out: Path) -> str:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    tail = [line["loss"] for line in lines[-LAST:]]
    swaps = json.loads((out / "swap_test.json").read_text())
    gains = []
    for condition in ("audio", "reference"):
        swap = swaps[condition]
        middle, low, high = (100 * swap[part] / swap["right"] for part in ("difference", "low", "high"))
        gains.append(f"{middle:+.2f} % [{low:+.2f}, {high:+.2f}]")
    face, everywhere = swaps["audio"]["right"], swaps["reference"]["right"]
    return f"| {name} | {sum(tail) / len(tail):.4f} | {face:.4f} | {everywhere:.4f} | {gains[0]} | {gains[1]} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Training without its parts.")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=list(WITHOUT))
    given = parser.parse_args()
    print("| without | training loss | held out, faces | held out, everywhere | wrong audio | wrong reference |")
    print("|---|---|---|---|---|---|")
    for name in given.only or WITHOUT:
        out = given.out / name.replace(" ", "_").replace("'", "")
        if not (out / "swap_test.json").exists():
            train(load_config("mini", WITHOUT[name]), data=given.data, out=out, resume=out.exists())
        print(row(name, out), flush=True)


if __name__ == "__main__":
    main()
