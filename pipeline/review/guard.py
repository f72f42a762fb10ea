"""Who may speak to the server: only a browser on this machine that was given the token, and only from our own pages."""

import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

POLICY = (
    "default-src 'none'; img-src 'self'; media-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Hosts by which this machine may call itself. Another one means that a page elsewhere had its name point here."""


def guard(token: str, port: int, *, command: str) -> Middleware:
    """Refuses other hosts, requests without the token, and changes that another page asks for.

    `command`: what printed the token, for whoever comes without it.
    """
    hosts = {f"{name}:{port}" for name in NAMES}
    cookie = f"humo_review_{port}"

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await _answer(request, handler)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        response.headers.update(HEADERS)
        return response

    async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host not in hosts:
            raise web.HTTPForbidden(text="this server answers only to its own machine")
        given = request.query.get("token")
        if given is not None and request.method == "GET":
            if not _same(given, token):
                raise web.HTTPForbidden(text=f"this is not the token that '{command}' printed")
            # The token leaves the address, and with it the history.
            redirect = web.HTTPSeeOther(request.path)
            redirect.set_cookie(cookie, token, httponly=True, samesite="Strict", path="/")
            raise redirect
        if not _same(request.cookies.get(cookie, ""), token):
            raise web.HTTPForbidden(text=f"open the address that '{command}' printed, with its token")
        if request.method not in ("GET", "HEAD"):
            origin = request.headers.get("Origin", "")
            if origin not in {f"http://{host}" for host in hosts} or request.content_type != "application/json":
                raise web.HTTPForbidden(text="only this server's own pages may change anything")
        return await handler(request)

    return guarded


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
