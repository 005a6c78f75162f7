"""From the asset: each sftp answer belongs to a request, and what it tells is noted before the person sees it."""

from __future__ import annotations

import struct

from sessions.gateway.files.ledger import DONE, Operation, Transfer
from sessions.gateway.files.open_files import OpenFile, OpenFolder
from sessions.gateway.files.requests import EXTENSIONS_ABOUT_NOTHING, EXTENSIONS_BY_HANDLE, Requests
from sessions.gateway.files.sftp_paths import EXTENDED_SHAPES, Answer
from sessions.gateway.files.sftp_state import For, Pending, SftpState
from sessions.gateway.files.sftp_wire import (
    MOST_HANDLE,
    STATUS_WORDS,
    Fields,
    Malformed,
    Status,
    Type,
    Verdict,
    number,
    packet,
    text,
)
from sessions.gateway.relay import printable

VERSION = 3
KNOWN_EXTENSIONS = (
    frozenset(EXTENDED_SHAPES) | EXTENSIONS_BY_HANDLE | EXTENSIONS_ABOUT_NOTHING | {b"copy-data"}
)
MOST_NAME = 64 * 1024
FITTING = {
    Type.HANDLE: frozenset({For.OPEN, For.FOLDER}),
    Type.DATA: frozenset({For.READ}),
    Type.NAME: frozenset({For.LOOKUP, For.OURSELVES}),
    Type.ATTRS: frozenset({For.LOOKUP}),
    Type.EXTENDED_REPLY: frozenset({For.LOOKUP}),
    Type.STATUS: frozenset(For) - {For.JUDGEMENT},
}


class Answers:
    """The judge of the way down (sftp_wire.Judge)."""

    def __init__(self, state: SftpState, requests: Requests) -> None:
        self._state = state
        self._requests = requests
        self._filling: Transfer | None = None
        self._gathered: bytearray | None = None
        self._asker: Answer | None = None
        self._unresolved = 0

    # sftp_wire.Judge -------------------------------------------------------------------------------------

    def on_packet(self, data: bytes) -> Verdict:
        kind = data[4]
        if kind == Type.VERSION:
            return self._on_version(data)
        if kind not in FITTING:
            raise Malformed(f"an answer of type {kind}")
        fields = Fields(data, 5)
        request = fields.u32()
        pending = self._state.answered(request)
        if pending is None or pending[0] not in FITTING[Type(kind)]:
            raise Malformed("an answer to a request that wasn't made")
        if kind == Type.DATA:
            return self._on_data(request, pending, data)
        if kind == Type.HANDLE:
            self._on_handle_given(pending[1], fields.string())
            self._state.opened(request)
            return True
        if kind == Type.STATUS:
            self._state.opened(request)
            return self._on_status(pending, fields)
        if pending[0] is For.OURSELVES:
            self._gathered, self._asker = bytearray(), pending[1]
            return False
        return True

    def on_contents(self, piece: memoryview) -> None:
        if self._filling is not None:
            self._filling.add(piece)
        elif self._gathered is not None:
            self._gathered += piece
            if len(self._gathered) > MOST_NAME:
                raise Malformed("a name that is too long")

    def on_contents_end(self) -> None:
        self._filling = None
        if self._gathered is not None and self._asker is not None:
            fields = Fields(bytes(self._gathered), 0)
            asker, self._asker, self._gathered = self._asker, None, None
            if fields.u32() != 1:
                raise Malformed("not one name, as was asked for")
            asker(fields.string(), Status.OK)

    # One kind each. --------------------------------------------------------------------------------------

    def _on_version(self, data: bytes) -> Verdict:
        """Held back until it is known where the home is, and where the playbook's roots lead."""
        state = self._state
        fields = Fields(data, 5)
        if state.home or self._unresolved or state.greeted or fields.u32() != VERSION:
            raise Malformed("a greeting of another version, or a second one")
        greeting = [number(VERSION)]
        while rest := fields.rest():
            name, value = fields.string(), fields.string()
            if name in KNOWN_EXTENSIONS:
                greeting += [text(name), text(value)]
            if len(fields.rest()) >= len(rest):
                raise Malformed("a greeting without an end")
        roots = [root.encode() for root in state.ledger.rules.roots]
        self._unresolved = 1 + len(roots)
        resolved: set[bytes] = set(roots)

        def answered(path: bytes, _: int, *, home: bool) -> None:
            if home:
                state.home = path or b"/"
            elif path:
                resolved.add(path)
            self._unresolved -= 1
            if not self._unresolved:
                self._requests.gate.roots = frozenset(
                    root.decode("utf-8", "surrogateescape") for root in resolved
                )
                state.greeted = True
                state.to_person(packet(Type.VERSION, *greeting))

        state.ask(b".", lambda path, code: answered(path, code, home=True))
        for root in roots:
            state.ask(root, lambda path, code: answered(path, code, home=False))
        return False

    def _on_data(self, request: int, pending: Pending, header: bytes) -> Verdict:
        _, transfer, offset, most = pending
        if transfer is not None and transfer.over:  # its row is written
            raise Malformed("contents of a file that was closed")
        (count,) = struct.unpack_from(">I", header, 9)
        if count > most:
            raise Malformed("more contents than were asked for")
        why = transfer.begin(offset, count)
        if why is not None:
            return self._state.no(request, why)
        self._filling = transfer
        return True

    def _on_status(self, pending: Pending, fields: Fields) -> Verdict:
        what, subject, _, _ = pending
        code = fields.u32()
        problem = "" if code == Status.OK else f"refused by the asset: {_words(code, fields)}"
        if what is For.OURSELVES:
            subject(b"", code)
            return False
        if isinstance(subject, OpenFile | OpenFolder):
            subject.finish(problem)
        elif isinstance(subject, Operation):
            self._state.ledger.finish(subject, problem or DONE)
        elif isinstance(subject, Transfer) and problem and code != Status.EOF:
            subject.operation.problem = subject.operation.problem or problem
        return True

    def _on_handle_given(self, opened: OpenFile | OpenFolder, handle: bytes) -> None:
        if len(handle) > MOST_HANDLE or handle in self._state.handles:
            raise Malformed("a handle that can't be told from another")
        self._state.handles[handle] = opened


def _words(code: int, fields: Fields) -> str:
    """The asset's own words where its code says no more than that it failed."""
    if code in STATUS_WORDS and code != Status.FAILURE:
        return STATUS_WORDS[Status(code)]
    try:
        said = printable(fields.string().decode("utf-8", "replace"))[:80]
    except Malformed:  # servers of older drafts send none
        said = ""
    return said or f"status {code}"
