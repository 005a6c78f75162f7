"""The sftp requests that name paths: what they do, and how a playbook's roots bound them.

Where there are roots the asset itself is asked (REALPATH, with request ids of the gateway's own on the same channel)
where a path leads, links looked through; what is inside is then sent with that very path, anything else is refused.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from breakglass.domain.policy import inside
from sessions.gateway.files.paths import exact, parent_and_name
from sessions.gateway.files.sftp_wire import Fields, Malformed, Status, Type, number, packet, text

MOST_WAITING = 1024


class Way(Enum):
    """What a request does with a path."""

    FOLLOWED = auto()
    """Links are looked through, the last one too."""
    NAMED = auto()
    """The last name is meant itself, be it a link or not."""
    CHANGED = auto()
    """As `NAMED`, and the name is made, moved or removed: a root itself may not be."""
    TARGET = auto()
    """What a new symbolic link will lead to, as seen from the link."""
    FREE = auto()
    """Only translated into another path."""


@dataclass(frozen=True)
class Shape:
    """A kind of request: its verb, what it does with each of its paths, and whether it has a row when it goes well."""

    verb: str
    ways: tuple[Way, ...]
    kept: bool = True


SHAPES: dict[int, Shape] = {
    Type.OPEN: Shape("open", (Way.FOLLOWED,)),
    Type.OPENDIR: Shape("list", (Way.FOLLOWED,)),
    Type.STAT: Shape("stat", (Way.FOLLOWED,), kept=False),
    Type.LSTAT: Shape("lstat", (Way.NAMED,), kept=False),
    Type.READLINK: Shape("readlink", (Way.NAMED,), kept=False),
    Type.REALPATH: Shape("realpath", (Way.FREE,), kept=False),
    Type.SETSTAT: Shape("setstat", (Way.FOLLOWED,)),
    Type.REMOVE: Shape("remove", (Way.CHANGED,)),
    Type.MKDIR: Shape("mkdir", (Way.CHANGED,)),
    Type.RMDIR: Shape("rmdir", (Way.CHANGED,)),
    Type.RENAME: Shape("rename", (Way.CHANGED, Way.CHANGED)),
    # As OpenSSH has it, and against the draft: what it leads to comes first.
    Type.SYMLINK: Shape("symlink", (Way.TARGET, Way.CHANGED)),
}
EXTENDED_SHAPES: dict[bytes, Shape] = {
    b"posix-rename@openssh.com": Shape("rename", (Way.CHANGED, Way.CHANGED)),
    b"hardlink@openssh.com": Shape("link", (Way.CHANGED, Way.CHANGED)),
    b"lsetstat@openssh.com": Shape("setstat", (Way.NAMED,)),
    b"statvfs@openssh.com": Shape("statvfs", (Way.FOLLOWED,), kept=False),
    b"expand-path@openssh.com": Shape("realpath", (Way.FREE,), kept=False),
    b"home-directory": Shape("realpath", (Way.FREE,), kept=False),
}
ATTRIBUTES = ((1, "truncate"), (2, "chown"), (4, "chmod"), (8, "touch"))


@dataclass(frozen=True)
class PathRequest:
    """One request that names paths, taken apart so that it can be put together again."""

    id: int
    kind: int
    extension: bytes
    shape: Shape
    paths: tuple[bytes, ...]
    rest: bytes

    def build(self, paths: tuple[bytes, ...]) -> bytes:
        """The same request about `paths`."""
        name = text(self.extension) if self.kind == Type.EXTENDED else b""
        return packet(Type(self.kind), number(self.id), name, *map(text, paths), self.rest)

    @property
    def verb(self) -> str:
        if self.shape.verb != "setstat":
            return self.shape.verb
        return attributes(self.rest)


def attributes(attrs: bytes) -> str:
    """What a change of attributes changes, in a word or two."""
    flags = Fields(attrs, 0).u32()
    verbs = [verb for flag, verb in ATTRIBUTES if flags & flag]
    return "+".join(verbs) if 1 <= len(verbs) <= 2 else "setstat"


def path_request(request: int, kind: int, extension: bytes, fields: Fields) -> PathRequest | None:
    """The request, or None where it names no path. Raises Malformed."""
    shape = EXTENDED_SHAPES.get(extension) if kind == Type.EXTENDED else SHAPES.get(kind)
    if shape is None:
        return None
    paths = tuple(fields.string() for _ in shape.ways)
    if any(b"\0" in path for path in paths):
        raise Malformed("a path with a NUL byte")
    return PathRequest(request, kind, extension, shape, paths, fields.rest())


Answer = Callable[[bytes, int], None]
"""Called with a resolved path, or with b"" and the asset's status."""


class Gatekeeper:
    """The path requests of a channel with roots: one at a time, each passed on before the next is looked into.

    Requests about open files overtake them, as they may: a handle was judged when it was opened.
    """

    def __init__(
        self,
        ask: Callable[[bytes, Answer], None],
        let_through: Callable[[PathRequest, tuple[bytes, ...]], None],
        turn_away: Callable[[PathRequest, bytes], None],
        fail: Callable[[PathRequest, int], None],
    ) -> None:
        self._ask, self._let_through, self._turn_away, self._fail = ask, let_through, turn_away, fail
        self._lock = threading.RLock()
        self._waiting: deque[PathRequest] = deque()
        self._now: PathRequest | None = None
        self._answers: list[bytes | None] = []
        self.roots: frozenset[str] = frozenset()

    def add(self, request: PathRequest) -> None:
        """Look into it when its turn comes. Raises Malformed where too many wait."""
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise Malformed("too many requests at once")
            self._waiting.append(request)
            self._go_on()

    def _go_on(self) -> None:
        while self._now is None and self._waiting:
            request = self._now = self._waiting.popleft()
            questions = _questions(request)
            self._answers = [None] * len(questions)
            if not questions:
                self._now = None
                self._let_through(request, request.paths)
            for place, question in enumerate(questions):
                self._ask(question, self._answer_to(request, place))

    def _answer_to(self, request: PathRequest, place: int) -> Answer:
        def answered(path: bytes, code: int) -> None:
            with self._lock:
                if self._now is not request:
                    return
                if not path:
                    self._now = None
                    self._fail(request, code if code > Status.EOF else Status.FAILURE)
                else:
                    self._answers[place] = path
                    if None in self._answers:
                        return
                    self._now = None
                    self._judge(request, [answer or b"" for answer in self._answers])
                self._go_on()

        return answered

    def _judge(self, request: PathRequest, answers: list[bytes]) -> None:
        sent = []
        for path, way, answer in zip(request.paths, request.shape.ways, answers, strict=True):
            _, name = parent_and_name(path)
            leads_to = answer
            if way in (Way.NAMED, Way.CHANGED) and name:
                leads_to = answer.rstrip(b"/") + b"/" + name
            if not inside(exact(leads_to), self.roots, strictly=way is Way.CHANGED):
                self._turn_away(request, leads_to)
                return
            sent.append(path if way is Way.TARGET else leads_to)
        self._let_through(request, tuple(sent))


def _questions(request: PathRequest) -> list[bytes]:
    """The paths to resolve, one for each path of the request; none where it may pass as it is."""
    asked = []
    for path, way in zip(request.paths, request.shape.ways, strict=True):
        if way is Way.FREE:
            return []
        folder, name = parent_and_name(path)
        if way is Way.TARGET:
            link_folder, _ = parent_and_name(request.paths[-1])
            asked.append(path if path.startswith(b"/") else link_folder.rstrip(b"/") + b"/" + path)
        elif way is Way.FOLLOWED or not name:
            asked.append(path)
        else:
            asked.append(folder)
    return asked
