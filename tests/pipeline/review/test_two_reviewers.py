"""Two reviewers at once, two servers on one run, SIGKILL in the middle of saving: nothing lost, nothing twice."""

import threading
import time
from collections import Counter
from pathlib import Path

from pipeline.review.session import LOOK_EVERY_S
from pipeline.store.relations import Relations
from pipeline.store.snapshots import latest
from pipeline.verdicts.fold import all_verdicts
from tests.pipeline.report.report_run import CLIPS
from tests.pipeline.review.served import Served, served
from tests.pipeline.verdicts.verdict_run import decide_now, media_of, write_run

EACH = 40
KILL_AFTER = 10


class Reviewer(threading.Thread):
    """Sends verdicts one after the other, each again until a server has said that it is saved; like our pages."""

    def __init__(self, name: str, servers: list[Served], clips: list[dict[str, str]], number: int) -> None:
        super().__init__(daemon=True)
        self.reviewer = name
        self.servers = servers
        self.clips = clips
        self.ids = [f"{number:016x}{place:016x}" for place in range(EACH)]
        self.named = servers[0].run
        self.saved = 0
        self.again = 0

    def run(self) -> None:
        for place, id_ in enumerate(self.ids):
            kind = "reject" if place % 2 else "accept"
            said = {
                "id": id_,
                "kind": kind,
                "reviewer": self.reviewer,
                "run": self.named,
                **self.clips[place % len(self.clips)],
            }
            while True:
                try:
                    answer = self.servers[-1].ask("/verdicts", said)
                except (OSError, ValueError):
                    self.again += 1
                    continue
                assert answer.status == 200, answer.text
                break
            self.saved += 1


def test_no_verdict_is_lost_or_doubled_when_the_server_is_killed(tmp_path: Path) -> None:
    files = write_run(tmp_path)
    clips = [
        {"clip_id": clip.key, "media_sha256": media_of(files, clip)}
        for clip in CLIPS
        if Relations(files, latest(files)).connection.execute("SELECT 1 FROM clips WHERE id = ?", [clip.key]).fetchall()
    ]
    assert clips
    with served(tmp_path) as first, served(tmp_path) as other:
        servers = [first]
        ann, bob = Reviewer("Ann", servers, clips, 1), Reviewer("Bob", [other], clips, 2)
        ann.start()
        bob.start()
        while ann.saved < KILL_AFTER:
            time.sleep(0.001)
        first.process.kill()
        first.process.wait()
        with served(tmp_path) as second:
            servers.append(second)
            ann.join(120)
            bob.join(120)
            # Each server sees what was said to the other, a moment later.
            time.sleep(2 * LOOK_EVERY_S)
            everybody = second.ask("/verdicts.csv").text
    assert ann.again > 0
    sent = Counter(ann.ids + bob.ids)
    assert Counter(line.split(",")[0] for line in everybody.splitlines()[1:]) == sent
    assert Counter(row["id"] for row in all_verdicts(files, latest(files))) == sent
    assert not [path for path in (tmp_path / "journal").iterdir() if path.suffix != ".json"]
    decide_now(files)
    rows = Relations(files, latest(files)).connection.execute("SELECT id FROM verdicts").fetchall()
    assert Counter(id_ for (id_,) in rows) == sent
