"""A web server on loopback that behaves as badly as the web does, by path; it keeps a record of what it sent."""

import hashlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


def body_of(name: str, size: int) -> bytes:
    """Bytes that differ everywhere, so that no mix-up of offsets goes unnoticed."""
    block = b"".join(hashlib.sha256(f"{name} {number}".encode()).digest() for number in range(2048))
    return (block * (size // len(block) + 1))[:size]


@dataclass
class Record:
    """What was asked (path, Range, If-None-Match), how many bytes of bodies went out, and how many at once."""

    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    most_at_once: int = 0
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def ranges(self, path: str) -> list[str | None]:
        return [range_ for asked, range_, _ in self.asked if asked == path]


@dataclass(frozen=True)
class Rough:
    """A running server. `bodies`: path -> content, to be changed at will."""

    port: int
    record: Record
    bodies: dict[str, bytes]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@contextmanager
def rough_server(host: str = "127.0.0.1") -> Iterator[Rough]:
    """A server while the block lasts."""
    record = Record()
    bodies: dict[str, bytes] = {}
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            with lock:
                record.asked.append((self.path, self.headers.get("Range"), self.headers.get("If-None-Match")))
                record.times[self.path].append(time.monotonic())
                record.at_once += 1
                record.most_at_once = max(record.most_at_once, record.at_once)
            try:
                kind = self.path.split("/")[1]
                getattr(self, f"_{kind}", self._missing)()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with lock:
                    record.at_once -= 1

        def _head(self, status: int, **headers: str | int) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()

        def _send(self, data: bytes) -> None:
            for start in range(0, len(data), 2**16):
                self.wfile.write(data[start : start + 2**16])
                record.sent[self.path] += len(data[start : start + 2**16])

        def _times(self) -> int:
            return len(record.times[self.path])

        def _file(self, *, upto: int | None = None, type_: str = "video/mp4") -> None:
            """Bodies with ETag and ranges, cut off after `upto` bytes of what was asked."""
            body = bodies[self.path]
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if self.headers.get("If-None-Match") == etag:
                self._head(304, ETag=etag)
                return
            start = 0
            range_ = self.headers.get("Range")
            if range_ and self.headers.get("If-Range") == etag:
                start = int(range_.removeprefix("bytes=").removesuffix("-"))
                where = f"bytes {start}-{len(body) - 1}/{len(body)}"
                self._head(206, Content_Type=type_, Content_Length=len(body) - start, ETag=etag, Content_Range=where)
            else:
                self._head(200, Content_Type=type_, Content_Length=len(body), ETag=etag)
            self._send(body[start : len(body) if upto is None else start + upto])
            if upto is not None and start + upto < len(body):
                self.close_connection = True

        def _dropping(self) -> None:
            self._file(upto=400_000)

        def _stalling(self) -> None:
            """The first answer stops after 40 MiB and says nothing more."""
            if self._times() > 1:
                self._file()
                return
            self._file(upto=40 * 2**20)
            self.wfile.flush()
            time.sleep(60)

        def _busy(self) -> None:
            if self._times() < 3:
                self._head(429 if self._times() == 1 else 503, Retry_After=1, Content_Length=0)
            else:
                self._file()

        def _slow(self) -> None:
            time.sleep(0.1)
            self._file()

        def _never(self) -> None:
            self._head(503, Content_Length=0)

        def _to(self) -> None:
            """/to/<host>/<path>: redirected there."""
            host, _, path = unquote(self.path).removeprefix("/to/").partition("/")
            self._head(302, Location=f"http://{host}:{self.server.server_port}/{path}", Content_Length=0)

        def _scheme(self) -> None:
            self._head(302, Location="file:///etc/passwd", Content_Length=0)

        def _loop(self) -> None:
            self._head(302, Location=self.path, Content_Length=0)

        def _toolong(self) -> None:
            """Says more than it sends."""
            self._head(200, Content_Type="video/mp4", Content_Length=1000)
            self._send(b"x" * 600)
            self.close_connection = True

        def _tooshort(self) -> None:
            """Says less than it sends."""
            self._head(200, Content_Type="video/mp4", Content_Length=600)
            self._send(b"x" * 1000)

        def _endless(self) -> None:
            """5 GB of nothing, without a length."""
            self._head(200, Content_Type="video/mp4", Transfer_Encoding="chunked")
            for _ in range(5000):
                self.wfile.write(b"f4240\r\n" + bytes(1_000_000) + b"\r\n")
                record.sent[self.path] += 1_000_000

        def _html(self) -> None:
            page = b"<html>please log in</html>"
            self._head(200, Content_Type="text/html; charset=utf-8", Content_Length=len(page))
            self._send(page)

        def _changing(self) -> None:
            """Another version at every answer, though a range of the first one is asked for."""
            bodies[self.path] = body_of(f"{self._times()}", 900_000) if self._times() < 3 else b"the last version"
            self._file(upto=400_000)

        def _liar(self) -> None:
            """Takes no notice of If-Range: goes on with another version."""
            if self._times() == 1:
                bodies[self.path] = body_of("first", 900_000)
                self._file(upto=400_000)
            elif self._times() == 2:
                body = body_of("second", 900_000)
                where = "bytes 400000-899999/900000"
                self._head(206, Content_Type="video/mp4", Content_Length=500_000, ETag='"2"', Content_Range=where)
                self._send(body[400_000:])
            else:
                bodies[self.path] = body_of("second", 900_000)
                self._file()

        def _list(self) -> None:
            self._file(type_="text/plain")

        def _missing(self) -> None:
            self._head(404, Content_Length=0)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            """A client that leaves in the middle is what this server is for."""

    server = Server((host, 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield Rough(port=server.server_port, record=record, bodies=bodies)
    finally:
        server.shutdown()
        server.server_close()
