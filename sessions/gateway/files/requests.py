"""From the person: each sftp request is known, noted and within bounds before the asset sees it."""

from __future__ import annotations

import struct

from breakglass.domain.refusals import Refusal, RefusalCode, refusal
from sessions.gateway.files.ledger import Transfer
from sessions.gateway.files.open_files import OpenFile, OpenFolder
from sessions.gateway.files.paths import absolute, shown, visible
from sessions.gateway.files.sftp_paths import Gatekeeper, PathRequest, attributes, path_request
from sessions.gateway.files.sftp_state import MOST_OPEN, For, SftpState
from sessions.gateway.files.sftp_wire import Fields, Malformed, Status, Type, Verdict, number, packet, status
from sessions.gateway.relay import printable

VERSION = 3
BY_HANDLE = frozenset({Type.CLOSE, Type.READ, Type.FSTAT, Type.FSETSTAT, Type.READDIR})
EXTENSIONS_BY_HANDLE = frozenset({b"fsync@openssh.com", b"fstatvfs@openssh.com"})
EXTENSIONS_ABOUT_NOTHING = frozenset({b"limits@openssh.com", b"users-groups-by-id@openssh.com"})
_U32 = struct.Struct(">I")


class Requests:
    """The judge of the way up (sftp_wire.Judge)."""

    def __init__(self, state: SftpState) -> None:
        self._state = state
        self._ledger = state.ledger
        self._begun = False
        self._filling: Transfer | None = None
        self.gate = Gatekeeper(state.ask, self._let_through, self._turn_away, self._fail)

    # sftp_wire.Judge -------------------------------------------------------------------------------------

    def on_packet(self, data: bytes) -> Verdict:
        kind = data[4]
        if kind == Type.INIT:
            return self._on_init(data)
        if not self._state.greeted:
            raise Malformed("a request before the greeting was over")
        fields = Fields(data, 5)
        request = fields.u32()
        if kind == Type.WRITE:
            return self._on_write(request, data)
        if kind in BY_HANDLE:
            return self._on_handle(request, kind, fields)
        extension = fields.string() if kind == Type.EXTENDED else b""
        named = path_request(request, kind, extension, fields)
        if named is not None:
            return self._on_paths(named)
        if extension in EXTENSIONS_BY_HANDLE:
            return self._on_handle(request, kind, fields)
        if extension in EXTENSIONS_ABOUT_NOTHING:
            self._state.expect(request, For.LOOKUP)
            return True
        if extension == b"copy-data":
            return self._on_copy(request, fields)
        return self._unknown(request, kind, extension)

    def on_contents(self, piece: memoryview) -> None:
        if self._filling is not None:
            self._filling.add(piece)

    def on_contents_end(self) -> None:
        self._filling = None

    # One kind each. --------------------------------------------------------------------------------------

    def _on_init(self, data: bytes) -> Verdict:
        if self._begun or len(data) < 9 or _U32.unpack_from(data, 5)[0] < VERSION:
            raise Malformed("a greeting of another version, or a second one")
        self._begun = True
        ours = packet(Type.INIT, number(VERSION))
        return True if data == ours else ours

    def _on_write(self, request: int, header: bytes) -> Verdict:
        # type, request, handle (with its length), offset, length of the contents
        opened = self._state.handles.get(header[13:-12])
        offset, count = struct.unpack(">QI", header[-12:])
        if not isinstance(opened, OpenFile):
            return self._no_handle(request)
        transfer = opened.up()
        why = transfer.begin(None if opened.appends else offset, count)
        if why is not None:
            self._stand(request)
            self._state.in_turn(self._state.no(request, why))
            return False
        self._state.expect(request, For.WRITE, transfer)
        self._filling = transfer
        return True

    def _on_handle(self, request: int, kind: int, fields: Fields) -> Verdict:
        handles = self._state.handles
        handle = fields.string()
        opened = handles.get(handle)
        if opened is None:
            return self._no_handle(request)
        if kind == Type.READ and isinstance(opened, OpenFile):
            self._state.expect(request, For.READ, opened.down(), fields.u64(), fields.u32())
        elif kind == Type.CLOSE:
            self._state.expect(request, For.CLOSE, opened)
            del handles[handle]
        elif kind == Type.FSETSTAT:
            self._stand(request)
            operation = self._ledger.begin(attributes(fields.rest()), opened.path)
            self._state.expect(request, For.OPERATION, operation)
        else:
            self._state.expect(request, For.LOOKUP)
        return True

    def _on_copy(self, request: int, fields: Fields) -> Verdict:
        """copy-data: from one open file to another, on the asset."""
        here = self._state.handles.get(fields.string())
        fields.u64(), fields.u64()  # where from, and how much: told by what it names, and 0 for all of it
        there = self._state.handles.get(fields.string())
        if here is None or there is None:
            return self._no_handle(request)
        self._stand(request)
        operation = self._ledger.begin("copy", here.path, there.path)
        self._state.expect(request, For.OPERATION, operation)
        return True

    def _on_paths(self, named: PathRequest) -> Verdict:
        self._stand(named.id)
        if named.kind in (Type.OPEN, Type.OPENDIR) and not self._state.may_open(named.id):
            return self._refuse(named.id, f"More than {MOST_OPEN} open files at once", "Close some first.")
        if not self._ledger.rules.roots:
            self._begin(named, named.paths)
            return True
        self._state.expect(named.id, For.JUDGEMENT)
        self.gate.add(named)
        return False

    def _unknown(self, request: int, kind: int, extension: bytes) -> Verdict:
        self._stand(request)
        what = f"The sftp request {printable(shown(extension)) if extension else kind}"
        return self._refuse(request, what, "Only what can be followed is passed on.", Status.OP_UNSUPPORTED)

    def _refuse(self, request: int, what: str, help: str, code: Status = Status.FAILURE) -> Verdict:
        why = refusal(RefusalCode.NOT_OFFERED, what=what, help=help)
        self._state.channel.session.refused(why, {"channel": self._state.channel.number})
        self._state.in_turn(self._state.no(request, why, code))
        return False

    # Path requests, let through or turned away. ----------------------------------------------------------

    def _begin(self, named: PathRequest, paths: tuple[bytes, ...]) -> None:
        """Note it, and await its answer."""
        state, ledger = self._state, self._ledger
        seen = [shown(absolute(path, state.home)) for path in paths]
        if named.kind == Type.OPEN:
            opened = OpenFile(ledger, state.channel, seen[0], Fields(named.rest, 0).u32())
            state.expect(named.id, For.OPEN, opened)
        elif named.kind == Type.OPENDIR:
            folder = OpenFolder(ledger, ledger.begin("list", seen[0]), seen[0])
            state.expect(named.id, For.FOLDER, folder)
        elif named.shape.kept:
            if named.kind == Type.SYMLINK:
                seen = [seen[1], shown(paths[0])]
            state.expect(named.id, For.OPERATION, ledger.begin(named.verb, seen[0], "".join(seen[1:])))
        else:
            state.expect(named.id, For.LOOKUP)

    def _let_through(self, named: PathRequest, paths: tuple[bytes, ...]) -> None:
        del self._state.pending[named.id]
        self._begin(named, paths)
        self._state.to_asset(named.build(paths))

    def _turn_away(self, named: PathRequest, leads_to: bytes) -> None:
        del self._state.pending[named.id]
        self._state.opened(named.id)
        path = visible(shown(leads_to))
        roots = ", ".join(self._ledger.rules.roots)
        why = refusal(RefusalCode.FILE_OUTSIDE_ROOTS, path=path, roots=roots)
        answer = self._state.no(named.id, why)
        self._ledger.refused(named.verb, shown(leads_to), why)
        self._state.in_turn(answer)

    def _fail(self, named: PathRequest, code: int) -> None:
        """The asset can't say where it leads: then it would have failed there too."""
        del self._state.pending[named.id]
        self._state.opened(named.id)
        self._state.to_person(status(named.id, Status(code) if code <= 8 else Status.FAILURE, ""))

    def _no_handle(self, request: int) -> Verdict:
        self._stand(request)
        why: Refusal = refusal(RefusalCode.FILE_PROTOCOL, protocol="sftp", problem="a handle that isn't open")
        self._state.in_turn(self._state.no(request, why, Status.FAILURE))
        return False

    def _stand(self, request: int) -> None:
        """Raises Malformed where the request's number is in use: its answer would be taken for another's."""
        if request in self._state.pending:
            raise Malformed("a request number that is in use")
