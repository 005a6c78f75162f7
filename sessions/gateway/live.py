"""A live session in the gateway's memory: two legs, a recorder, its channels, and the one way to end it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

from breakglass import clock
from breakglass.domain.policy import ChannelKind
from breakglass.domain.refusals import Refusal, RefusalCode, refusal
from sessions.gateway import global_requests
from sessions.gateway.carry import ForwardChannel, SessionChannel, destination, forward_body
from sessions.gateway.company import NO_ESCORT, Company
from sessions.gateway.files.moved import Moved
from sessions.gateway.freezing import Freeze
from sessions.gateway.recorded import Recorded, SessionOver
from sessions.gateway.relay import SplicedChannel, printable
from sessions.gateway.transport import LegGone
from sessions.gateway.wire import Disconnect, Msg, OpenFailure, Reader, message, string, u32
from sessions.recording.recorder import RecordingFailed
from sessions.states import END_WORDING, EndReason

if TYPE_CHECKING:
    from sessions.gateway.asset_leg import ClientLeg
    from sessions.gateway.local import Ends
    from sessions.gateway.pep import SessionAuthorization
    from sessions.gateway.room import Room
    from sessions.gateway.transport import ServerLeg
    from sessions.recording.recorder import Recorder
    from sessions.services import Cut, FileFacts

Carried = TypeVar("Carried", bound=SplicedChannel)

MOST_CHANNELS = 10
MOST_REFUSALS = 200
MOST_UNSAID = 10
UNCONFIRMED = 15.0
LINE_BEFORE_FAREWELL = 0.002
FAREWELL = 0.7
"""Within the second that the promise gives: what a client that was behind is sent goes on until it has the farewell."""
BOOKS = 10.0
"""So long the end waits for a recording to be brought to the disk: one that stands still keeps no end out of the books."""
NEXT = {
    EndReason.EXPIRED: "Request access again if you need more time.",
    EndReason.IDLE: "Connect again while your grant runs.",
    EndReason.GATEWAY_STOPPED: "Connect again in a moment.",
    EndReason.LEASE_LOST: "Connect again in a moment.",
    EndReason.CANNOT_RECORD: "An administrator must free the recording store.",
}


class Clerk(Protocol):
    """Writes down what happened, in a thread of its own and in order, so that no relay waits for a database."""

    def channel_started(self, session_id: UUID, channel: SplicedChannel) -> None: ...

    def channel_over(self, session_id: UUID, channel: SplicedChannel) -> None: ...

    def refused(self, session_id: UUID, why: Refusal, data: dict[str, Any]) -> None: ...

    def file_done(self, session_id: UUID, facts: FileFacts) -> None: ...

    def gone(self, session: LiveSession) -> None: ...

    def ended(self, session: LiveSession) -> None: ...


@dataclass(frozen=True)
class Facts:
    """What a session is, settled before its first byte."""

    session_id: UUID
    label: str
    person: str
    asset: str
    login: str
    address: str
    output_limit: int
    escorts: frozenset[str] = frozenset()


class LiveSession(Recorded):
    """One SSH connection of one person to one asset under one grant; any number of channels at a time up to ten."""

    def __init__(
        self,
        facts: Facts,
        authorization: SessionAuthorization,
        recorder: Recorder,
        person_leg: ServerLeg,
        asset_leg: ClientLeg,
        clerk: Clerk,
        room: Room,
    ) -> None:
        self.facts = facts
        self.authorization = authorization
        self.output_limit = facts.output_limit
        self.person_leg = person_leg
        self.asset_leg = asset_leg
        self.reason: EndReason | None = None
        self.ended = threading.Event()
        self.ended_at: datetime | None = None
        self.ended_by_clock = 0.0
        self.last_typed = clock.monotonic()
        self.confirmed = self.last_typed
        self.warned: set[int] = set()
        self.bytes_in = 0
        self.bytes_out = 0
        self.on_end: Callable[[LiveSession], None] | None = None
        self.moved = Moved()
        self.freezing = Freeze(self)
        self.company = Company(self, facts.escorts)
        self._is_incomplete = False
        self._deadline = authorization.deadline
        self._ends_at = authorization.ends_at.timestamp()
        self.room = room
        self._recorder = recorder
        self._clerk = clerk
        self._lock = threading.Lock()
        self._books = threading.Lock()  # while a channel's books are closed; that may wait for a disk
        self._channels: dict[int, SplicedChannel] = {}
        self._numbers = 0
        self._refusals = 0
        self.unsaid: list[
            str
        ] = []  # for the next channel that has a stderr: a global request has no room for a reason

    # Before every byte. ----------------------------------------------------------------------------------

    def go_on(self, *, typed: bool) -> None:
        """Raises SessionOver at and after the deadline, or once the session was ended. Law 3 is this line."""
        now = clock.monotonic()
        if now >= self._deadline or clock.wall() >= self._ends_at:
            self.end(EndReason.EXPIRED)
        if self.reason is not None:
            raise SessionOver(str(self.reason))
        if typed:
            self.last_typed = now

    # What the person's leg says. -------------------------------------------------------------------------

    def on_channel_open(self, kind: str, remote_id: int, window: int, max_packet: int, body: Reader) -> None:
        self.go_on(typed=True)
        with self._lock:
            open_now = len(self._channels)
        if open_now >= MOST_CHANNELS:
            why = refusal(RefusalCode.TOO_MANY_CHANNELS, limit=MOST_CHANNELS)
            self._refuse_open(remote_id, OpenFailure.RESOURCE_SHORTAGE, why, kind)
        elif self.unconfirmed:
            why = refusal(RefusalCode.UNCONFIRMED)
            self._refuse_open(remote_id, OpenFailure.RESOURCE_SHORTAGE, why, kind)
        elif self.freezing and not (
            kind == "session" and self.freezing.is_held_by(NO_ESCORT, alone=True)
        ):  # a shell or a command may wait for its escort; nothing of it is passed on before
            why = refusal(RefusalCode.SESSION_FROZEN, why=self.freezing.why)
            self._refuse_open(remote_id, OpenFailure.PROHIBITED, why, kind)
        elif kind == "session":
            self._carry(SessionChannel, remote_id, window, max_packet, kind, b"", "")
        elif kind == "direct-tcpip":
            target = destination(body.rest())
            why_not = self.authorization.permits(ChannelKind.FORWARD, target)
            shown = f"{printable(target[0])}:{target[1]}"
            if why_not is None:
                dialled = forward_body(self.authorization.dials(target))
                self._carry(ForwardChannel, remote_id, window, max_packet, kind, dialled, shown)
            else:
                self._refuse_open(remote_id, OpenFailure.PROHIBITED, why_not, f"{kind} {shown}")
        else:
            why = refusal(
                RefusalCode.NOT_OFFERED, what=f"A {printable(kind)} channel", help="Use a session channel."
            )
            self._refuse_open(remote_id, OpenFailure.UNKNOWN_CHANNEL_TYPE, why, kind)

    def hand_over(self, make: Callable[[LiveSession, int, datetime], Carried], ends: Ends) -> Carried:
        """A channel of the person's that is open already, and that the gateway itself answered so far."""
        return self._carry(make, ends.remote_id, ends.window, ends.max_packet, "session", b"", "")

    def _carry(
        self,
        make: Callable[[LiveSession, int, datetime], Carried],
        remote_id: int,
        window: int,
        max_packet: int,
        kind: str,
        body: bytes,
        to: str,
    ) -> Carried:
        with self._lock:
            self._numbers += 1
            channel = make(self, self._numbers, clock.now())
            channel.destination = to
            self._channels[channel.number] = channel
            if self.freezing:
                channel.person.freeze()
        if to:
            self.mark(f"channel {channel.number}: forward to {to}")
            self._clerk.channel_started(self.facts.session_id, channel)
        channel.open(remote_id, window, max_packet, kind, body)
        return channel

    def _refuse_open(self, remote_id: int, code: OpenFailure, why: Refusal, kind: str) -> None:
        self.refused(why, {"channel": printable(kind)})
        self.person_leg.send(
            message(Msg.OPEN_FAILURE, u32(remote_id), u32(code), string(f"Breakglass: {why}"), string("en"))
        )

    def on_global_request(self, name: str, want_reply: bool, body: Reader) -> None:
        why = global_requests.objection(name)
        if why is not None:
            self.refused(why, {"request": printable(name)})
            if len(self.unsaid) < MOST_UNSAID:
                self.unsaid.append(f"Breakglass: {why}")
        if want_reply:
            self.person_leg.send(message(Msg.REQUEST_FAILURE))

    def on_down(self, error: BaseException | None) -> None:
        """The person's connection is gone."""
        self._complete_receipt()
        if isinstance(error, LegGone) and error.leg is self.asset_leg:
            self.ended.wait(0.2)  # the asset's own leg knows better why
            self.end(EndReason.UPSTREAM_FAILED)
        elif error is None or isinstance(error, EOFError):
            self.end(EndReason.CLIENT_CLOSED)
        elif isinstance(error, OSError):
            self.end(EndReason.CLIENT_LOST)
        else:
            self.end(EndReason.PROTOCOL_ERROR)

    def on_asset_down(self, error: BaseException | None) -> None:
        """The asset's connection is gone."""
        if isinstance(error, LegGone) and error.leg is self.person_leg:
            self.ended.wait(0.2)  # the person's own leg knows better why
            self.end(EndReason.CLIENT_LOST)
        elif error is None or isinstance(error, EOFError):
            self.end(EndReason.ASSET_CLOSED)
        elif isinstance(error, OSError):
            self.end(EndReason.UPSTREAM_FAILED)
        else:
            self.end(EndReason.PROTOCOL_ERROR)

    # What channels say. ----------------------------------------------------------------------------------

    def channel_started(self, channel: SplicedChannel) -> None:
        self._clerk.channel_started(self.facts.session_id, channel)

    def channel_over(self, channel: SplicedChannel) -> None:
        with self._books:
            with self._lock:
                if self._channels.pop(channel.number, None) is None:
                    return
            self._close_books(channel)

    def _close_books(self, channel: SplicedChannel) -> None:
        channel.closed_at = clock.now()
        if channel.decoder is not None:
            channel.decoder.wind_up()
        self.bytes_in += channel.traffic_in.count
        self.bytes_out += channel.traffic_out.count + channel.traffic_err.count
        self._clerk.channel_over(self.facts.session_id, channel)

    def file_done(self, facts: FileFacts) -> None:
        self._clerk.file_done(self.facts.session_id, facts)

    def refused(self, why: Refusal, data: dict[str, Any]) -> None:
        """Write a refusal into the audit trail; a flood of them is cut off, the first ones tell the tale."""
        self._refusals += 1
        if self._refusals <= MOST_REFUSALS:
            self._clerk.refused(self.facts.session_id, why, data)

    # Frozen. --------------------------------------------------------------------------------------------

    def freeze(self, cause: str, why: str, rest: str = "", *, keys_age: bool = False) -> None:
        """Hold what the person sends until `unfreeze` of each cause. Never waits. `why` completes "this session is
        frozen ", `rest` says what becomes of the output: the person is told, on their shells and commands, and the
        recording has a marker. `keys_age`: see `Freeze.begin`."""
        self.freezing.begin(cause, why, rest, keys_age=keys_age)

    def unfreeze(self, cause: str) -> None:
        """That cause is gone. With the last one what was held is passed on, in order, once. Never waits."""
        self.freezing.end(cause)

    def tell_soon(self, text: str) -> None:
        """As `tell`, and never waits for a client that doesn't read."""
        self.freezing.soon(lambda: self.tell(text) if self.reason is None else None)

    # The end. --------------------------------------------------------------------------------------------

    @property
    def unconfirmed(self) -> bool:
        """Whether nobody has confirmed it for so long that nothing new begins on it."""
        return clock.monotonic() - self.confirmed >= UNCONFIRMED

    def adopt(self, authorization: SessionAuthorization, asked: float | None = None) -> None:
        """A renewed decision. It can only shorten what the first one gave, or follow an extended grant.

        `asked`: when the books were asked, on the monotonic clock; the answer is as old as the question.
        """
        if authorization.deadline > self._deadline + 1:
            self.warned.clear()
        self.authorization = authorization
        self._deadline = authorization.deadline
        self._ends_at = authorization.ends_at.timestamp()
        self.confirmed = clock.monotonic() if asked is None else asked

    def tell(self, text: str) -> None:
        """A line of the gateway's own on every shell and command."""
        for channel in self.open_channels():
            channel.tell(text)

    def end(self, reason: EndReason) -> bool:
        """End it now, once: no byte passes after this. Never waits. True when this call did it."""
        with self._lock:
            if self.reason is not None:
                return False
            self.person_leg.mute()  # first: whatever its reader meets from here on doesn't cost the farewell
            self.reason = reason
            self.ended_at, self.ended_by_clock = clock.now(), clock.monotonic()
            self.ended.set()
        why = refusal(RefusalCode.SESSION_ENDED, why=END_WORDING[reason], next=NEXT.get(reason, ""))
        text = f"Breakglass: {why}"
        self.asset_leg.mute()
        told = 0
        for channel in self.open_channels():
            if not channel.tell_now(text):
                break
            told += 1
        threading.Thread(target=self._finish, args=(text, told), name="session-end", daemon=True).start()
        return True

    def _finish(self, text: str, told: int) -> None:
        """What may wait: the farewell, the recording's end, the books. Nothing is relayed any more.

        A client that reads the line on a channel and the farewell in one go exits before it shows the line. The
        books come after the farewell: begun before, they kept the interpreter from it for some 2 ms, at times for
        7. A client that is behind with its reading doesn't hold them up; only the receipt waits until it is cut off,
        for till then something that was begun may still reach it.
        """
        if told:
            time.sleep(LINE_BEFORE_FAREWELL)
        parted = self.person_leg.part(Disconnect.BY_APPLICATION, text)
        books = threading.Thread(target=self._close_all_books, name="session-books", daemon=True)
        books.start()
        if not parted:
            self.person_leg.cut(Disconnect.BY_APPLICATION, text, patience=FAREWELL)
        books.join(BOOKS)
        self._clerk.ended(self)
        if self.on_end is not None:
            self.on_end(self)

    def _close_all_books(self) -> None:
        """Beside the farewell, which a client that is behind with its reading may hold up. The asset's leg, not heard
        any more, goes here too: one that doesn't read is no reason to keep the person waiting."""
        self.asset_leg.cut(Disconnect.BY_APPLICATION, "session over")
        self.asset_leg.bury()
        with self._books:
            with self._lock:
                channels, self._channels = list(self._channels.values()), {}
            for channel in channels:
                self._close_books(channel)
        with contextlib.suppress(
            RecordingFailed
        ):  # the file is ended as far as the disk allows; its seal says so
            self._recorder.marker(f"session ended: {self.reason}")
        with contextlib.suppress(RecordingFailed):
            self._recorder.close()

    def receipt_told(self, cut: Cut) -> None:
        """The clerk has this, and hears when the person has gone too, where that wasn't known yet: always after it."""
        with self._lock:
            is_gone = self.person_leg.gone_at is not None
            self._is_incomplete = cut.client_gone_at is None and not is_gone
        if cut.client_gone_at is None and is_gone:
            self._clerk.gone(self)

    def _complete_receipt(self) -> None:
        with self._lock:
            is_due, self._is_incomplete = self._is_incomplete, False
        if is_due:
            self._clerk.gone(self)

    def open_channels(self) -> list[SplicedChannel]:
        with self._lock:
            return list(self._channels.values())

    @property
    def deadline(self) -> float:
        return self._deadline


__all__ = ["Clerk", "Facts", "LiveSession", "SessionOver"]
