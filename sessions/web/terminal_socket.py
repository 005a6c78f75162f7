"""The server's half of a browser terminal: one WebSocket joined to one connection to the gateway.

Said on the socket: JSON objects with a `t`, and bytes whose first one says what they are: 0 the terminal's, 1 a file's.
Whoever receives says what it took; nobody has more under way than a fixed bound, so a browser that reads nothing stops
the asset's output at the gateway, and an asset that reads nothing stops the typing. The end is said in words, and the
socket's close code says its kind. Nothing is ever joined again: a terminal that was lost is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from breakglass import clock
from breakglass.domain.refusals import RefusalCode, Refused, refuse
from breakglass.queries import spec_of
from breakglass.web.sockets import LOGIN_OVER, NORMAL, BadMessage, Gone, Socket, in_a_thread
from sessions.models import SSHSession
from sessions.services import terminals
from sessions.services.terminals import Pass, WebLogin
from sessions.web.terminal_files import LONGEST_PATH, Files, Wish
from sessions.web.terminal_joint import Joint, Over

log = logging.getLogger("breakglass.terminal")

HELLO_SECONDS = 15.0
MOST_IN_ALL = 200
MOST_OF_ONE = 8
COLS, ROWS = (2, 1000), (1, 500)
TERMINAL, FILE = b"\x00", b"\x01"
ONE_MESSAGE = 16 * 1024
MOST_UNSAID = 1000
UNSAID_SECONDS = 0.05
ENDS_SECONDS = 10.0

CLOSED_BY_SHELL = 4000
ENDED = 4001
REFUSED = 4003
LOST = 4004

_open: Counter[UUID] = Counter()


async def serve(socket: Socket) -> None:
    """From the ticket to the end of the terminal. Closes the socket in any case."""
    person = socket.login.person.pk
    if _open.total() >= MOST_IN_ALL or _open[person] >= MOST_OF_ONE:
        whose = ("by you", MOST_OF_ONE) if _open[person] >= MOST_OF_ONE else ("here", MOST_IN_ALL)
        no = refuse(RefusalCode.TERMINALS_FULL, limit=whose[1], whose=whose[0])
        await _part(socket, Over("refused", str(no.refusal)))
        return
    _open[person] += 1
    try:
        await _serve(socket)
    finally:
        _open[person] -= 1
        if not _open[person]:
            del _open[person]


async def _serve(socket: Socket) -> None:
    try:
        hello = await asyncio.wait_for(socket.receive(), HELLO_SECONDS)
        if not isinstance(hello, dict) or not isinstance(hello.get("ticket"), str):
            raise BadMessage("no ticket")
        login = WebLogin(socket.login.person, socket.login.key, socket.login.address)
        ticket, size = hello["ticket"], _size(hello)  # what can't be understood uses up no ticket
        opened = await in_a_thread(lambda: terminals.redeem(ticket, login, clock.now()))
    except Refused as refused:
        await _part(socket, Over("refused", str(refused.refusal)))
    except (TimeoutError, BadMessage) as error:
        await socket.close(getattr(error, "code", NORMAL), str(error) or "no ticket came")
    except Gone:
        return
    else:
        await Terminal(socket, opened, size).run()


class Terminal:
    """One open terminal. Everything here runs on the event loop; the joint's threads hand over by `_from_thread`."""

    def __init__(self, socket: Socket, opened: Pass, size: tuple[int, int]) -> None:
        self._socket = socket
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._out: asyncio.Queue[bytes | dict[str, Any] | Over] = asyncio.Queue()
        self._joint = Joint(opened, size, self._from_thread)
        self._held: bytes | dict[str, Any] | Over | None = None
        self._files: Files | None = None
        self._may: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Until one of the sides is over; then all of it is."""
        over = Over("lost", "Something broke on our side. Your grant lives on: open a terminal again.")
        tasks: list[asyncio.Task[Over]] = []
        try:
            self._may, prefers_shell = await in_a_thread(self._allowed)
            self._joint.start(shell=prefers_shell)
            works = (self._hear(), self._speak(), self._watch_login(), self._watch_end())
            tasks = [asyncio.create_task(work) for work in works]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            over = next(iter(done)).result()
        finally:
            for task in tasks:
                task.cancel()
            if self._files is not None:
                self._files.end()
            self._joint.end()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)
            await _part(self._socket, over)

    # To the browser. -------------------------------------------------------------------------------------

    def _from_thread(self, message: bytes | dict[str, Any] | Over) -> None:
        """Bounded by the credits of who calls."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._out.put_nowait, message)

    async def _next(self) -> bytes | dict[str, Any] | Over:
        """Small pieces of the terminal's output as one."""
        message = self._held if self._held is not None else await self._out.get()
        self._held = None
        while isinstance(message, bytes) and message[:1] == TERMINAL and len(message) < ONE_MESSAGE:
            try:
                following = self._out.get_nowait()
            except asyncio.QueueEmpty:
                break
            if not isinstance(following, bytes) or following[:1] != TERMINAL:
                self._held = following
                break
            message += following[1:]
        return message

    async def _speak(self) -> Over:
        while True:
            message = await self._next()
            if isinstance(message, Over):
                return message
            if isinstance(message, dict) and message.get("t") == "in":
                message = await self._opening(message)
            try:
                await self._socket.send(message)
            except Gone:
                return Over("gone", "")

    async def _opening(self, said: dict[str, Any]) -> dict[str, Any]:
        """What the page shows of the session, once the gateway has let us in."""
        person = self._socket.login.person
        session = await in_a_thread(lambda: terminals.session_of(self._opened, person))
        facts = _facts(session) if session is not None else {}
        return {**said, "t": "open", "may": sorted(self._may), "asset": self._opened.asset,
                "login": self._opened.login, **facts}  # fmt: skip

    def _allowed(self) -> tuple[frozenset[str], bool]:
        """The playbook's channels, to show what is there to use; the gateway decides."""
        kinds = frozenset(map(str, spec_of(terminals.grant_of(self._opened).playbook).channels))
        return kinds, "shell" in kinds

    # From the browser. -----------------------------------------------------------------------------------

    async def _hear(self) -> Over:
        while True:
            while self._out.qsize() > MOST_UNSAID:  # who doesn't listen isn't listened to
                await asyncio.sleep(UNSAID_SECONDS)
            try:
                message = await self._socket.receive()
                if isinstance(message, bytes):
                    self._take_bytes(message)
                elif message.get("t") == "end":
                    return Over("ended-here", "You ended the session.")
                else:
                    self._take(message)
            except Gone:
                return Over("gone", "")
            except BadMessage as bad:
                log.warning("terminal of %s: %s", self._socket.login.person.username, bad)
                return Over("lost", f"The page sent what can't be understood ({bad}). Open a terminal again.")

    def _take_bytes(self, message: bytes) -> None:
        kind, data = message[:1], message[1:]
        if kind == TERMINAL:
            fits = self._joint.type(data)
        else:
            fits = kind == FILE and self._files is not None and self._files.data(data)
        if not fits:
            raise BadMessage("more than was allowed for")

    def _take(self, said: dict[str, Any]) -> None:
        match said.get("t"):
            case "size":
                self._joint.resize(_size(said))
            case "took":
                self._joint.credit.give(_whole(said.get("n")))
            case "file-took" if self._files is not None:
                self._files.credit.give(_whole(said.get("n")))
            case "file-stop" if self._files is not None:
                self._files.stop(_whole(said.get("id")))
            case "list" | "get" | "put":
                self._wish(said)
            case "file-took" | "file-stop":
                return
            case other:
                raise BadMessage(f"an unknown message {str(other)[:20]!r}")

    def _wish(self, said: dict[str, Any]) -> None:
        number, path = _whole(said.get("id")), str(said.get("path", ""))
        if len(path) > LONGEST_PATH or "\x00" in path:
            raise BadMessage("a path that none is")
        line = self._joint.line
        if line is None:
            self._from_thread({"t": "no", "id": number, "says": "The session isn't open yet."})
            return
        if self._files is None:
            self._files = Files(line, self._from_thread, lambda piece: self._from_thread(FILE + piece))
        wish = Wish(str(said["t"]), number, path, _whole(said.get("size", 0)), bool(said.get("replace")))
        if not self._files.ask(wish):
            self._from_thread(
                {"t": "no", "id": number, "says": "Too much waits already. Try again in a moment."}
            )

    async def _watch_login(self) -> Over:
        await self._socket.until_login_is_over()
        return Over(
            "login-over", "Your web login is over, so this terminal was closed. Log in and open one again."
        )

    async def _watch_end(self) -> Over:
        """The page's countdown follows a grant that was made longer. The end itself is the gateway's matter."""
        while True:
            await asyncio.sleep(ENDS_SECONDS)
            try:
                grant = await in_a_thread(lambda: terminals.grant_of(self._opened))
            except (DatabaseError, InterfaceError) as error:
                log.warning("the end of a terminal's grant can't be asked for: %s", error)
                continue
            self._from_thread({"t": "ends", "ends": _milliseconds(grant.ends_at)})


def _milliseconds(moment: datetime | None) -> int:
    return int(moment.timestamp() * 1000) if moment else 0


def _facts(session: SSHSession) -> dict[str, Any]:
    return {"session": str(session.pk), "label": session.label, "ends": _milliseconds(session.grant.ends_at)}


async def _part(socket: Socket, over: Over) -> None:
    """Say how it ended, in words and as a close code."""
    with contextlib.suppress(Gone):
        await socket.send({"t": "end", "kind": over.kind, "says": over.says})
    await socket.close(CODES.get(over.kind, LOST), over.says)


CODES = {
    "exit": CLOSED_BY_SHELL,
    "ended-here": CLOSED_BY_SHELL,
    "ended": ENDED,
    "refused": REFUSED,
    "lost": LOST,
    "gone": NORMAL,
    "login-over": LOGIN_OVER,
}


def _size(said: dict[str, Any]) -> tuple[int, int]:
    cols, rows = _whole(said.get("cols")), _whole(said.get("rows"))
    return max(COLS[0], min(COLS[1], cols)), max(ROWS[0], min(ROWS[1], rows))


def _whole(value: object) -> int:
    """A number as the page may send it. Raises BadMessage."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise BadMessage("a number that none is")
    return int(value)
