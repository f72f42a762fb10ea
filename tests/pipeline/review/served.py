"""The review's server in a process of its own, as a user starts it, and requests with its token."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.command_line import COMMAND


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, headers and body of a response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(kw_only=True)
class Served:
    """A running server. `address`: with the token, as it was printed."""

    process: "subprocess.Popen[str]"
    address: str

    @property
    def base(self) -> str:
        return self.address.split("/?")[0]

    @property
    def port(self) -> int:
        return int(self.base.rsplit(":", 1)[1])

    @property
    def cookie(self) -> str:
        return f"humo_review_{self.port}={self.address.split('token=')[1]}"

    @property
    def run(self) -> str:
        """The run's own name, which every page shows and every verdict names."""
        return self.ask("/audits").text.split('data-run="')[1].split('"')[0]

    def ask(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None, method: str | None = None
    ) -> Answer:
        """A request with the token's cookie; a body is posted as our own pages do it."""
        sent = {"Cookie": self.cookie}
        if body is not None:
            sent |= {"Content-Type": "application/json", "Origin": self.base}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + path, data=data, headers={**sent, **(headers or {})}, method=method
        )
        opener = urllib.request.build_opener(_Stay)
        try:
            with opener.open(request, timeout=60) as answer:
                return Answer(status=answer.status, headers=dict(answer.headers), body=answer.read())
        except urllib.error.HTTPError as error:
            return Answer(status=error.code, headers=dict(error.headers), body=error.read())


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@contextmanager
def served(run: Path, *, port: int = 0) -> Iterator[Served]:
    """`humo review RUN`, on a free port unless one is given."""
    with subprocess.Popen(
        [*COMMAND, "review", str(run), "--port", str(port)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            started = time.monotonic()
            line = process.stdout.readline()
            while not line.startswith("open "):
                assert line, "the server ended"
                assert time.monotonic() - started < 60
                line = process.stdout.readline()
            yield Served(process=process, address=line.split()[1])
        finally:
            process.kill()
