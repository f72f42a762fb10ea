"""Serves a page on this machine alone, and saves votes. Whoever votes needs the token in the address."""

import json
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from pipeline.review.guard import guard
from schemas.errors import UserError
from training.evaluation.page.votes import read_pairs, read_votes, save_vote

LARGEST_VOTE = 1024
"""Bytes."""
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mp4": "video/mp4"}
HOST = "127.0.0.1"


def application(page: Path, token: str, port: int) -> web.Application:
    """The page behind a token, as `pipeline.review.guard` has it.

    GET  /                  to the blind page
    GET  /FILE, /media/FILE what `humo compare --out` wrote; never who is who
    GET  /votes?voter=V     which pairs this voter has voted on: {"PAIR": "left"}
    POST /votes             {"pair": P, "choice": "left" | "right" | "tie", "voter": V}
    """
    _, pairs = read_pairs(page)
    known = frozenset(pair.id for pair in pairs)
    served = {path.name for path in page.iterdir() if path.suffix in (".html", ".css", ".js")}

    async def first(request: web.Request) -> web.StreamResponse:
        raise web.HTTPSeeOther("/blind.html")

    async def no_icon(request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def file(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in served:
            raise web.HTTPNotFound
        return _file(page / name)

    async def medium(request: web.Request) -> web.StreamResponse:
        path = page / "media" / request.match_info["name"]
        if not path.is_file():
            raise web.HTTPNotFound
        return _file(path)

    async def votes(request: web.Request) -> web.StreamResponse:
        voter = request.query.get("voter", "")
        mine = {pair: choice for (who, pair), choice in read_votes(page).items() if who == voter}
        return web.json_response(mine)

    async def vote(request: web.Request) -> web.StreamResponse:
        try:
            saved = save_vote(page, await request.read(), known)
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        return web.json_response(json.loads(saved.model_dump_json()))

    made = web.Application(middlewares=[guard(token, port, command="humo vote")], client_max_size=LARGEST_VOTE)
    made.add_routes(
        [
            web.get("/", first),
            web.get("/favicon.ico", no_icon),
            web.get("/votes", votes),
            web.post("/votes", vote),
            web.get(r"/media/{name:[0-9a-f]+\.[a-z0-9]+}", medium),
            web.get(r"/{name:[a-z]+\.[a-z]+}", file),
        ]
    )
    return made


def serve(page: Path, *, port: int, tell: Callable[[str], None]) -> None:
    """Serve until interrupted. Raises UserError for no page, and where the port is taken."""
    token = secrets.token_urlsafe(24)
    try:
        with socket.create_server((HOST, port)) as listening:
            own = listening.getsockname()[1]
            made = application(page, token, own)
            tell(f"vote at http://{HOST}:{own}/?token={token} (Ctrl-C ends)")
            web.run_app(made, sock=listening, print=None, handle_signals=True)
    except OSError as error:
        raise UserError(f"the port {port} cannot be had: {error.strerror}; give another --port") from error


def _file(path: Path) -> web.StreamResponse:
    kind = TYPES.get(path.suffix)
    response = web.FileResponse(path)
    if kind:
        response.content_type = kind
    return response
