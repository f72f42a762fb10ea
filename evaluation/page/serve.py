"""Serves a page on this machine alone, and saves votes. Whoever votes needs the token in the address."""

import asyncio
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from evaluation.page.votes import read_pairs, read_votes, save_vote
from schemas.errors import UserError

LARGEST_VOTE = 1024
"""Bytes."""
POLICY = (
    "default-src 'none'; img-src 'self'; media-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mp4": "video/mp4"}
COOKIE = "humo_vote"
HOST = "127.0.0.1"


def application(page: Path, token: str) -> web.Application:
    """The page behind a token, which comes in the first address and then in a cookie.

    GET  /?token=T          to the blind page
    GET  /FILE, /media/FILE what `humo compare --out` wrote; never who is who
    GET  /votes?voter=V     which pairs this voter has voted on: {"PAIR": "left"}
    POST /votes             {"pair": P, "choice": "left" | "right" | "tie", "voter": V}
    """
    _, pairs = read_pairs(page)
    known = frozenset(pair.id for pair in pairs)
    served = {path.name for path in page.iterdir() if path.suffix in (".html", ".css", ".js")}

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        given = request.query.get("token") or request.cookies.get(COOKIE, "")
        host = (request.host or "").rpartition(":")[0] or request.host
        # A page of another site that a name of its own leads here (DNS rebinding) comes under that name.
        if host not in (HOST, "localhost") or not hmac.compare_digest(given.encode(), token.encode()):
            return web.Response(status=403, text="open the address that `humo vote` printed", headers=HEADERS)
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        response.headers.update(HEADERS)
        return response

    async def first(request: web.Request) -> web.StreamResponse:
        response = web.Response(status=302, headers={"Location": "/blind.html"})
        response.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
        return response

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
        # A form of another site can send no such body without asking first, which is refused.
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        try:
            saved = save_vote(page, await request.read(), known)
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        return web.json_response(json.loads(saved.model_dump_json()))

    made = web.Application(middlewares=[guarded], client_max_size=LARGEST_VOTE)
    made.add_routes(
        [
            web.get("/", first),
            web.get("/votes", votes),
            web.post("/votes", vote),
            web.get(r"/media/{name:[0-9a-f]+\.[a-z0-9]+}", medium),
            web.get(r"/{name:[a-z]+\.[a-z]+}", file),
        ]
    )
    return made


def serve(page: Path, *, port: int, tell: Callable[[str], None]) -> None:
    """Serve until interrupted. Raises UserError where the port is taken."""
    token = secrets.token_urlsafe(24)
    try:
        asyncio.run(_serve(application(page, token), port, token, tell))
    except KeyboardInterrupt:
        return
    except OSError as error:
        raise UserError(f"the port {port} cannot be had: {error.strerror}; give another --port") from error


async def _serve(made: web.Application, port: int, token: str, tell: Callable[[str], None]) -> None:
    runner = web.AppRunner(made)
    await runner.setup()
    site = web.TCPSite(runner, HOST, port)
    await site.start()
    own = runner.addresses[0][1]
    tell(f"vote at http://{HOST}:{own}/?token={token} (Ctrl-C ends)")
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _file(path: Path) -> web.StreamResponse:
    kind = TYPES.get(path.suffix)
    response = web.FileResponse(path)
    if kind:
        response.content_type = kind
    return response
