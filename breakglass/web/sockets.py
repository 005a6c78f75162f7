"""WebSockets: opened by our own page only, by who is logged in, and closed when that login is over.

A WebSocket is no request: no middleware stands before it, and a browser opens one to us for any page of the world,
cookies and all. So each is asked here what pages are asked elsewhere: does it come from the page at our own address
(`Origin`, exactly), and by which login. What is said on it then is its room's matter; rooms join by name in settings.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import auth
from django.db import DatabaseError, InterfaceError, connections
from django.http import HttpRequest, HttpResponse
from django.http.cookie import parse_cookie
from django.utils.module_loading import import_string
from django_otp.middleware import OTPMiddleware

from breakglass import clock
from breakglass.models import Person
from breakglass.web.who import has_both_factors

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = TypeVar("Answer")

log = logging.getLogger("breakglass.web")

RECHECK_SECONDS = 30.0
ASK_AGAIN_SECONDS = 5.0
DATABASE_PATIENCE = 60.0
LARGEST = 64 * 1024
LONGEST_REASON = 123  # bytes: RFC 6455 section 5.5
DEFAULT_PORTS = {"http": 80, "https": 443}

NORMAL = 1000
BAD_MESSAGE = 1008
TOO_BIG = 1009
LOGIN_OVER = 4401


class Gone(Exception):
    """The other side is not there any more."""


class BadMessage(Exception):
    """What came can't be understood, or is too much. `code` closes the socket."""

    def __init__(self, why: str, code: int = BAD_MESSAGE) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Login:
    """Who opened it, by which web login (`key`), and from where."""

    person: Person
    key: str
    address: str


class Socket:
    """One open WebSocket of somebody who is logged in. Messages beyond 64 KiB are BadMessage."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, login: Login) -> None:
        self.login = login
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_closed = False

    async def receive(self) -> bytes | dict[str, Any]:
        """The next message: bytes, or an object that came as JSON. Raises Gone, BadMessage."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._is_closed = True
            raise Gone
        data, text = message.get("bytes"), message.get("text")
        if len(data or text or "") > LARGEST:
            raise BadMessage("a message of more than 64 KiB", TOO_BIG)
        return bytes(data) if data is not None else _object(text or "")

    async def send(self, message: bytes | Mapping[str, Any]) -> None:
        """Waits while the other side takes nothing. Raises Gone."""
        if self._is_closed:
            raise Gone
        what = {"bytes": message} if isinstance(message, bytes) else {"text": json.dumps(message)}
        try:
            await self._send({"type": "websocket.send", **what})
        except Exception as error:
            self._is_closed = True
            raise Gone from error

    async def close(self, code: int, reason: str) -> None:
        """`reason` is for people; what doesn't fit is cut."""
        if self._is_closed:
            return
        self._is_closed = True
        cut = reason.encode()[:LONGEST_REASON].decode(errors="ignore")
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": cut})
        except Exception:  # noqa: BLE001 - it closed first
            return

    async def until_login_is_over(self) -> None:
        """Asks every 30 s; returns when the login ended, its person was disabled, or nobody could say for 60 s."""
        stands = Standing(self._login_goes_on)
        while await stands():
            await asyncio.sleep(min(RECHECK_SECONDS, ASK_AGAIN_SECONDS) if stands.silent else RECHECK_SECONDS)

    def _login_goes_on(self) -> bool:
        now = login_of(self._scope)
        return now is not None and now.key == self.login.key and now.person.pk == self.login.person.pk


class Standing:
    """A question to the database with yes or no that is asked again and again, off the event loop. A database that can't
    be asked is no answer: the last yes stands for 60 s from the first such time, as a session's lease does. Then it is no.
    """

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._since: float | None = None

    @property
    def silent(self) -> bool:
        """Whether there was no answer the last time."""
        return self._since is not None

    async def __call__(self) -> bool:
        try:
            answer = await in_a_thread(self._ask)
        except (DatabaseError, InterfaceError) as error:
            now = clock.monotonic()
            if self._since is None:
                log.warning("the database can't be asked whether to go on: %s", error)
                self._since = now
            return now - self._since < DATABASE_PATIENCE
        self._since = None
        return answer


Handler = Callable[[Socket], Awaitable[None]]


class Sockets:
    """An ASGI application: WebSockets go to their rooms, everything else to the pages."""

    def __init__(self, pages: Any) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._pages(scope, receive, send)
            return
        handler = _rooms().get(str(scope.get("path", "")))
        await receive()  # websocket.connect
        login = None
        if handler is not None and comes_from_our_page(scope):
            login = await in_a_thread(lambda: login_of(scope))
        if handler is None or login is None:
            await send({"type": "websocket.close", "code": BAD_MESSAGE})  # HTTP 403: nothing was opened
            return
        await send({"type": "websocket.accept"})
        await handler(Socket(scope, receive, send, login))


def comes_from_our_page(scope: Scope) -> bool:
    """Whether the one Origin that the browser names is the web page's address, and nothing else."""
    named = [value for name, value in scope["headers"] if name == b"origin"]
    return named == [our_origin().encode()]


def our_origin() -> str:
    """The web page's address as browsers write it into Origin."""
    parts = urlsplit(settings.BREAKGLASS.public_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def login_of(scope: Scope) -> Login | None:
    """Who is logged in by the session cookie, with both factors, if anybody. Asks the database."""
    cookies = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    key = parse_cookie(cookies.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    request.user = auth.get_user(request)
    OTPMiddleware(lambda _: HttpResponse())(request)
    person = request.user
    if not has_both_factors(person) or not person.is_active:
        return None
    found = Person.objects.get(pk=person.pk)
    return Login(found, key, str((scope.get("client") or ("",))[0]))


async def in_a_thread(work: Callable[[], Answer]) -> Answer:
    """What asks the database, off the event loop; the thread gives its connection back."""

    def done() -> Answer:
        try:
            return work()
        finally:
            connections.close_all()

    return await sync_to_async(done, thread_sensitive=False)()


def _rooms() -> Mapping[str, Handler]:
    rooms: Mapping[str, Handler] = import_string(settings.DATA_PLANE_SOCKETS)
    return rooms


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("not JSON") from None
    if not isinstance(found, dict):
        raise BadMessage("not an object")
    return found
