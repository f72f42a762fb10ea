"""Clips, sounds and pictures of the run, by their hash; parts of them where a player asks for parts."""

import asyncio
import re

from aiohttp import web

from pipeline.store.files import Files
from pipeline.store.media import SUFFIX

TYPES = {
    "clips": "video/mp4",
    "audio": "audio/flac",
    "faces": "application/json",
    "references": "image/png",
    "thumbnails": "image/jpeg",
}
"""Kinds that are served. Sources are not."""
NAME = re.compile(r"^([0-9a-f]{32,64})(\.[a-z0-9]+)$")
# What is taken down tomorrow may not lie in a browser's folder then.
KEPT_NOWHERE = {"Cache-Control": "no-store"}


async def serve_media(files: Files, request: web.Request) -> web.StreamResponse:
    """`/media/{kind}/{two}/{name}`: nothing but a hash with its kind's suffix names a file."""
    kind, two = request.match_info["kind"], request.match_info["two"]
    named = NAME.match(request.match_info["name"])
    if kind not in TYPES or named is None or named[2] != SUFFIX[kind] or named[1][:2] != two:
        raise web.HTTPNotFound
    path = f"media/{kind}/{two}/{named[0]}"
    headers = {**KEPT_NOWHERE, "Content-Type": TYPES[kind]}
    local = files.local_path(path)
    if local is not None:
        if not local.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(local, headers=headers)
    try:
        data = await asyncio.to_thread(files.read, path)
    except FileNotFoundError as error:
        raise web.HTTPNotFound from error
    return _part(request, data, headers)


def _part(request: web.Request, data: bytes, headers: dict[str, str]) -> web.Response:
    """The bytes that a `Range` asks for; all of them without one."""
    wanted = request.http_range
    if wanted.start is None and wanted.stop is None:
        return web.Response(body=data, headers={**headers, "Accept-Ranges": "bytes"})
    start, stop, _ = wanted.indices(len(data))
    if start >= stop:
        raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{len(data)}"})
    span = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
    return web.Response(status=206, body=data[start:stop], headers={**headers, **span})
