"""Replay in parts: one viewing, checked whole and audited once, then as many chunks of it as the player asks for.

A viewing begins with the check of the whole seal, as `open_replay` does. It gives a ticket, which says who watches which
recording; a chunk is given for a ticket only, to the person it was made out to, as long as they may replay the session.
"""

from __future__ import annotations

import struct
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.core import signing

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Person
from sessions import spans
from sessions.models import Coverage, Recording
from sessions.recording import tape
from sessions.recording.sealed import SealedFile
from sessions.recording.tape import Tape
from sessions.services.recordings import note_viewing, open_parts, readable, replayable

MOST_AT_ONCE: Final = 64
"""Chunks in one answer."""
TICKET_SECONDS: Final = 24 * 3600
PAUSE_SECONDS: Final = 2.0
"""The player cuts a pause after so many seconds."""
_SALT: Final = "breakglass.replay"
_SERVED: Final = "breakglass.replay.served"
_KEPT: Final = 8
IDLE: Final = 600.0
"""After so many seconds without a question a file is closed: a deleted recording frees its room on the disk then."""
LOOK: Final = 60.0


@dataclass(frozen=True)
class Viewing:
    """A viewing that has begun: the ticket for its chunks, and where in the recording which second stands."""

    ticket: str
    recording: Recording
    tape: Tape


@dataclass(frozen=True)
class Begun:
    """What a ticket says of its viewing: when it began, and how many busy seconds had been watched before (`spans.busy`)."""

    at: float
    busy: float


@dataclass(frozen=True)
class Served:
    """The chunks that were asked for, and a receipt that says which, made out to who asked."""

    receipt: str
    pieces: Iterator[bytes]

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces


def begin(session_id: UUID, person: Person, now: datetime) -> Viewing:
    """Check the whole recording against its seal, write down who views it, and say how it can be read.

    Raises Refused as `open_replay`.
    """
    recording = replayable(session_id, person)
    with readable(recording, person, now):
        sealed = open_parts(recording)
        wound = _wind(recording, sealed)
    _OPEN.put(recording, sealed, wound)
    note_viewing(recording, person, now, AuditTag.RECORDING_VIEWED)
    row = Coverage.objects.filter(session=recording.session_id, person=person).first()
    seen = spans.merged(row.ranges if row else [], wound.seconds)
    before = spans.busy(seen, wound.seconds, wound.activity, PAUSE_SECONDS)
    facts = {**_named(recording, person), "begun": now.timestamp(), "busy": before}
    return Viewing(signing.dumps(facts, salt=_SALT), recording, wound)


def parts(session_id: UUID, person: Person, ticket: str, first: int, last: int, now: datetime) -> Served:
    """Chunks `first` to `last`, each as its length (4 bytes, big endian) and then gzip, and each checked against the seal
    before it is given. Unpacked and put together, all chunks are the recording.

    Raises Refused as `open_replay`; `not_found` where there are no such chunks; `not_allowed` without a ticket of one's
    own for this recording.
    """
    recording = replayable(session_id, person)
    begun(recording, person, ticket)
    chunks = len((recording.manifest or {}).get("chunks", ()))
    if not 0 <= first <= last < chunks or last - first >= MOST_AT_ONCE:
        raise refuse(RefusalCode.NOT_FOUND, what="part of the recording")
    with readable(recording, person, now):
        opened = _OPEN.get(recording) or _OPEN.put(recording, open_parts(recording), None)
        chunk = opened.packed(first)
    receipt = signing.dumps({**_named(recording, person), "chunks": [first, last]}, salt=_SERVED)
    return Served(receipt, _rest(opened, chunk, first, last))


def tape_of(recording: Recording, person: Person, now: datetime) -> Tape:
    """The index of a recording, from a viewing not long ago or read anew and checked. Raises Refused as `open_replay`."""
    opened = _OPEN.get(recording)
    if opened is not None and opened.tape is not None:
        return opened.tape
    with readable(recording, person, now):
        sealed = open_parts(recording)
        wound = _wind(recording, sealed)
    _OPEN.put(recording, sealed, wound)
    return wound


def holds_ticket(recording: Recording, person: Person, ticket: str) -> bool:
    """Whether this ticket says that this person's viewing of this recording is in the trail."""
    return _signed(recording, person, ticket, _SALT) is not None


def begun(recording: Recording, person: Person, ticket: str) -> Begun:
    """What the ticket says. Raises Refused `not_allowed` without one of one's own for this recording."""
    facts = _signed(recording, person, ticket, _SALT)
    if facts is None:
        raise refuse(
            RefusalCode.NOT_ALLOWED, verb="read a recording in parts", who="whoever has opened its replay"
        )
    return Begun(facts["begun"], facts["busy"])


def served(recording: Recording, person: Person, receipts: Iterable[str], tape: Tape) -> list[spans.Span]:
    """Which seconds of the recording these receipts say that this person was given; what isn't one says nothing."""
    found: list[spans.Span] = []
    for receipt in receipts:
        if facts := _signed(recording, person, receipt, _SERVED):
            first, last = facts["chunks"]
            end = tape.starts[last + 1] if last + 1 < len(tape.starts) else tape.seconds
            found.append((tape.starts[first], end))
    return spans.merged(found, tape.seconds)


def _named(recording: Recording, person: Person) -> dict[str, str]:
    return {"session": str(recording.session_id), "person": str(person.pk), "sha256": recording.sha256}


def _signed(recording: Recording, person: Person, words: str, salt: str) -> dict[str, Any] | None:
    """What was signed for this person and this recording not long ago; None for anything else."""
    try:
        facts = signing.loads(words, salt=salt, max_age=TICKET_SECONDS)
    except signing.BadSignature:
        return None
    named = _named(recording, person)
    return facts if {name: facts.get(name) for name in named} == named else None


def _rest(opened: _Opened, begun: bytes, first: int, last: int) -> Iterator[bytes]:
    yield struct.pack(">I", len(begun)) + begun
    for number in range(first + 1, last + 1):
        packed = opened.packed(number)
        yield struct.pack(">I", len(packed)) + packed


def _wind(recording: Recording, sealed: SealedFile) -> Tape:
    try:
        with ThreadPoolExecutor(1) as reader:
            return tape.wind(_ahead(reader, sealed.chunks()), recording.seconds, recording.bytes)
    except BaseException:
        sealed.close()
        raise


def _ahead(reader: ThreadPoolExecutor, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks; the next one is decrypted, unpacked and checked while this one is looked at."""
    coming = reader.submit(next, chunks, None)
    while (chunk := coming.result()) is not None:
        coming = reader.submit(next, chunks, None)
        yield chunk


@dataclass
class _Opened:
    """A sealed file that is open, used by one reader at a time; the last who lets go of it closes it."""

    sealed: SealedFile
    tape: Tape | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    used: float = field(default_factory=clock.monotonic)

    def __post_init__(self) -> None:
        weakref.finalize(self, self.sealed.close)

    def packed(self, number: int) -> bytes:
        with self.lock:
            return self.sealed.packed(number)


class _Shelf:
    """The last few recordings that were opened, so that a chunk costs neither a fetch from the store nor a new key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[UUID, str], _Opened] = OrderedDict()
        self._timer: threading.Timer | None = None

    def get(self, recording: Recording) -> _Opened | None:
        name = (recording.session_id, recording.sha256)
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                self._kept[name].used = clock.monotonic()
            return self._kept.get(name)

    def put(self, recording: Recording, sealed: SealedFile, wound: Tape | None) -> _Opened:
        opened = _Opened(sealed, wound)
        with self._lock:
            self._kept[(recording.session_id, recording.sha256)] = opened
            self._kept.move_to_end((recording.session_id, recording.sha256))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)  # closed with its last reader
            self._look_later()
        return opened

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(LOOK, self._look)
            self._timer.daemon = True
            self._timer.start()

    def _look(self) -> None:
        """Let go of what nobody asked for; comes again while anything is kept."""
        with self._lock:
            self._timer = None
            since = clock.monotonic() - IDLE
            for name in [name for name, opened in self._kept.items() if opened.used <= since]:
                del self._kept[name]
            if self._kept:
                self._look_later()


_OPEN = _Shelf()
