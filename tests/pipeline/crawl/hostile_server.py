"""A web server on loopback that misbehaves on purpose, and says afterwards what it was asked for and what it sent."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

FILE = bytes(range(256)) * 4096
"""The footage that it serves: one MiB."""


class Handler(BaseHTTPRequestHandler):
    """One path a misbehaviour."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()
    sent: ClassVar[dict[str, list[tuple[int, int]]]] = defaultdict(list)
    at_once: ClassVar[dict[str, int]] = {"now": 0, "most": 0}
    lock: ClassVar[threading.Lock] = threading.Lock()

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        name = self.path.split("?")[0].strip("/")
        getattr(self, f"serve_{name}", self.serve_nothing)()

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def _video(self, data: bytes, **headers: str) -> None:
        self._head(200, Content_Type="video/mp4", Content_Length=str(len(data)), ETag='"v1"', **headers)
        self.wfile.write(data)

    def serve_nothing(self) -> None:
        self._head(404, Content_Length="0")

    def serve_good(self) -> None:
        if self.headers.get("If-None-Match") == '"v1"':
            self._head(304)
        else:
            self._video(FILE)

    def serve_dropping(self) -> None:
        """Breaks off after each quarter; goes on where it is asked to."""
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        more = {"Content_Range": f"bytes {start}-{len(FILE) - 1}/{len(FILE)}"} if start else {}
        left = str(len(FILE) - start)
        self._head(206 if start else 200, Content_Type="video/mp4", Content_Length=left, ETag='"v1"', **more)
        part = FILE[start : start + len(FILE) // 4]
        self.wfile.write(part)
        self.sent["dropping"].append((start, len(part)))
        self.close_connection = True

    def serve_changing(self) -> None:
        """Breaks off, and has another version when asked again."""
        version = self.asked[self.path]
        data = FILE if version > 1 else b"old" * 1000
        self._head(200, Content_Type="video/mp4", Content_Length=str(len(data)), ETag=f'"v{min(version, 2)}"')
        self.wfile.write(data if version > 1 else data[:500])
        self.close_connection = True

    def serve_busy(self) -> None:
        if self.asked[self.path] == 1:
            self._head(429, Retry_After="1", Content_Length="0")
        elif self.asked[self.path] == 2:
            self._head(503, Content_Length="0")
        else:
            self._video(FILE)

    def serve_down(self) -> None:
        self._head(503, Content_Length="0")

    def serve_to_private(self) -> None:
        self._head(302, Location="http://10.0.0.1/secret", Content_Length="0")

    def serve_to_metadata(self) -> None:
        self._head(302, Location="http://[::ffff:169.254.169.254]/latest/meta-data/", Content_Length="0")

    def serve_to_file(self) -> None:
        self._head(302, Location="file:///etc/passwd", Content_Length="0")

    def serve_round(self) -> None:
        self._head(302, Location="/round", Content_Length="0")

    def serve_page(self) -> None:
        self._head(200, Content_Type="text/html", Content_Length="6")
        self.wfile.write(b"<html>")

    def serve_short(self) -> None:
        """Says that there is more than it sends."""
        self._head(200, Content_Type="video/mp4", Content_Length=str(2 * len(FILE)))
        self.wfile.write(FILE)
        self.close_connection = True

    def serve_endless(self) -> None:
        """Five gigabytes of nothing, in pieces, without saying how much."""
        self._head(200, Content_Type="video/mp4", Transfer_Encoding="chunked")
        piece = bytes(2**16)
        try:
            for _ in range(5 * 2**30 // len(piece)):
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.sent["endless"].append((0, len(piece)))
        except OSError:
            self.close_connection = True

    def serve_announced(self) -> None:
        """Says that it is too large."""
        self._head(200, Content_Type="video/mp4", Content_Length=str(5 * 2**30))
        self.close_connection = True

    def serve_slow(self) -> None:
        with self.lock:
            self.at_once["now"] += 1
            self.at_once["most"] = max(self.at_once["most"], self.at_once["now"])
        time.sleep(0.2)
        with self.lock:
            self.at_once["now"] -= 1
        self._video(FILE + self.path.encode())

    def serve_silent(self) -> None:
        self._head(200, Content_Type="video/mp4", Content_Length=str(len(FILE)))
        time.sleep(3)
        self.close_connection = True


@contextmanager
def hostile_server() -> Iterator[str]:
    """Its address while the block lasts."""
    Handler.asked.clear()
    Handler.sent.clear()
    Handler.at_once.update(now=0, most=0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
