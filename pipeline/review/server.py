"""The review's server: on this machine alone, with a token that it makes and prints."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from pipeline.review.gallery import Wanted
from pipeline.review.guard import guard
from pipeline.review.media import serve_media
from pipeline.review.pages import ASSETS, Pages, asset
from pipeline.review.requests import NewAudit, Outdated, Said
from pipeline.review.saying import draw_audit, take
from pipeline.review.session import Session
from pipeline.review.what_if import Moved, answer, as_yaml, moved
from pipeline.verdicts.export import as_csv
from schemas.errors import UserError

T = TypeVar("T")

LARGEST = 4 * 2**20
"""Bytes of a request."""
ASSET_TYPES = {"css": "text/css", "js": "text/javascript"}


class Server:
    """Routes over a session."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._pages = Pages(session, name)
        # Thresholds are tried one at a time: the answer takes both cores and a scratch folder.
        self._deciding = asyncio.Lock()

    def app(self, token: str, port: int) -> web.Application:
        """The application, guarded."""
        app = web.Application(middlewares=[guard(token, port, command="humo review")], client_max_size=LARGEST)
        app.router.add_get("/", self._page(lambda _: self._pages.overview()))
        app.router.add_get("/clips", self._page(lambda request: self._pages.clips(_wanted(request))))
        app.router.add_get(
            "/clips/{key}", self._page(lambda request: self._pages.clip(request.match_info["key"], _wanted(request)))
        )
        app.router.add_get("/people", self._page(lambda request: self._pages.people(_number(request))))
        app.router.add_get("/what-if", self._page(lambda _: self._pages.what_if()))
        app.router.add_post("/what-if", self._what_if)
        app.router.add_get("/what-if/decide.yaml", self._configuration)
        app.router.add_get("/audits", self._page(lambda _: self._pages.audits()))
        app.router.add_post("/audits", self._audit)
        app.router.add_post("/verdicts", self._say)
        app.router.add_get("/verdicts.csv", self._export)
        app.router.add_get("/assets/{name}", self._asset)
        app.router.add_get("/favicon.ico", _no_icon)
        app.router.add_get("/media/{kind}/{two}/{name}", lambda request: serve_media(self._session.files, request))
        return app

    def _page(self, make: Callable[[web.Request], str | None]) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.Response:
            def made() -> str | None:
                self._session.refresh()
                return make(request)

            text = await _checked(made)
            if text is None:
                raise web.HTTPNotFound(text="there is no such clip in this run")
            return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-store"})

        return handler

    async def _say(self, request: web.Request) -> web.Response:
        said = await _body(request, Said)
        return web.json_response(await _checked(lambda: take(self._session, said)))

    async def _audit(self, request: web.Request) -> web.Response:
        wanted = await _body(request, NewAudit)
        return web.json_response(await _checked(lambda: draw_audit(self._session, wanted)))

    async def _what_if(self, request: web.Request) -> web.Response:
        asked = await _body(request, Moved)
        async with self._deciding:

            def ask() -> dict[str, Any]:
                self._session.refresh()
                opened = self._session.opened
                section = moved(opened, asked)
                return {**answer(self._session.files, opened, section), "section": section}

            return web.json_response(await _checked(ask))

    async def _configuration(self, request: web.Request) -> web.Response:
        def make() -> str:
            self._session.refresh()
            asked = Moved.model_validate_json(request.query.get("moved", ""))
            return as_yaml(moved(self._session.opened, asked))

        headers = {"Content-Disposition": 'attachment; filename="decide.yaml"'}
        return web.Response(text=await _checked(make), content_type="application/yaml", headers=headers)

    async def _export(self, _: web.Request) -> web.Response:
        def make() -> str:
            self._session.refresh()
            return as_csv(self._session.verdicts())

        headers = {"Content-Disposition": 'attachment; filename="verdicts.csv"', "Cache-Control": "no-store"}
        return web.Response(text=await _checked(make), content_type="text/csv", headers=headers)

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        return web.Response(body=asset(name), content_type=ASSET_TYPES[name.rsplit(".", 1)[-1]])


async def _no_icon(_: web.Request) -> web.Response:
    return web.Response(status=204)


async def _checked(work: Callable[[], T]) -> T:
    """Beside the loop, with what a request got wrong as a sentence."""
    try:
        return await asyncio.to_thread(work)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise web.HTTPBadRequest(text=f"{where}: {first['msg']}" if where else first["msg"]) from error
    except Outdated as error:
        raise web.HTTPConflict(text=str(error)) from error
    except UserError as error:
        raise web.HTTPBadRequest(text=str(error)) from error


async def _body(request: web.Request, model: type[Any]) -> Any:
    data = await request.read()
    return await _checked(lambda: model.model_validate_json(data))


def _wanted(request: web.Request) -> Wanted:
    return Wanted.model_validate({name: value for name, value in request.query.items() if value != ""})


def _number(request: web.Request) -> int:
    text = request.query.get("page", "1")
    return max(1, int(text)) if text.isdecimal() and len(text) < 9 else 1


async def serve(session: Session, name: str, *, port: int, tell: Callable[[str], None]) -> None:
    """Serve until cancelled. `tell` is given the address, with the token. Raises UserError where the port is taken."""
    token = secrets.token_urlsafe(32)
    holder = _Listening(port)
    try:
        app = Server(session, name).app(token, holder.port)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, holder.socket).start()
        tell(f"http://127.0.0.1:{holder.port}/?token={token}")
        await asyncio.Event().wait()
    finally:
        holder.socket.close()


class _Listening:
    """A socket on this machine's own address. Port 0 takes a free one."""

    def __init__(self, port: int) -> None:
        import socket

        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"port {port} is taken; give another one, or --port 0 for any") from error
        self.port: int = self.socket.getsockname()[1]
