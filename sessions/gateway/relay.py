"""Bytes from leg to leg, with the recorder in the path.

A channel of the person's leg is spliced to a channel of the asset's leg: a side each (sides.py), and what they share.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from paramiko.ssh_exception import SSHException

from breakglass import clock
from breakglass.domain.policy import ChannelKind
from breakglass.domain.refusals import Refusal
from sessions.gateway.flow import Traffic
from sessions.gateway.keeping import Keeping
from sessions.gateway.sides import STDERR, AssetSide, PersonSide, Side
from sessions.gateway.wire import Msg, OpenFailure, message, string, u32

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession


class Decoder(Protocol):
    """Reads a channel's two streams as they pass, and sends them on itself, as far as it allows (files/)."""

    def from_person(self, plain: bytearray, count: int, size: int) -> None: ...

    def from_asset(self, plain: bytearray, count: int, size: int) -> None: ...

    def wind_up(self) -> None:
        """The channel is over: write down what was cut off. Neither waits nor ends the session."""


class SplicedChannel:
    """One channel of a session, from the person's leg to the asset's. Subclassed by what it carries (carry.py)."""

    kind: ChannelKind | None = None
    pty = False
    recorded = True
    decoder: Decoder | None = None

    def __init__(self, session: LiveSession, number: int, opened_at: datetime) -> None:
        self.session = session
        self.number = number
        self.opened_at = opened_at
        self.closed_at: datetime | None = None
        self.command = ""
        self.destination = ""
        self.refused: Refusal | None = None
        self.exit_status: int | None = None
        self.exit_signal = ""
        self.traffic_in = Traffic()
        self.traffic_out = Traffic()
        self.traffic_err = Traffic()
        self._keeping = Keeping(session.output_limit)
        self.person = PersonSide(self, session.person_leg)
        self.asset = AssetSide(self, session.asset_leg)
        self.person.other, self.asset.other = self.asset, self.person

    def open(self, remote_id: int, window: int, max_packet: int, kind: str, body: bytes) -> None:
        """Ask the asset for the channel that the person asked for. The person is answered when the asset has."""
        self.person.bind(remote_id, window, max_packet)
        self.person.opened = False
        first = self.asset.credit.open(window)
        self.asset.leg.send(
            message(
                Msg.CHANNEL_OPEN,
                string(kind),
                u32(self.asset.local_id),
                u32(first),
                u32(self.person.max_packet),
                body,
            )
        )

    def on_both_open(self) -> None:
        person = self.person
        first = person.credit.open(self.asset.window)
        person.opened = True
        person.leg.send(
            message(
                Msg.OPEN_CONFIRMATION,
                person.remote,
                u32(person.local_id),
                u32(first),
                u32(self.asset.max_packet),
            )
        )

    def on_asset_refused(self, code: int, text: str) -> None:
        self.asset.leg.drop_id(self.asset.local_id)
        self.person.leg.drop_id(self.person.local_id)
        known = code if code in OpenFailure.__members__.values() else int(OpenFailure.CONNECT_FAILED)
        words = "the asset refused this channel" + (f": {printable(text)}" if text else "")
        self.person.leg.send(
            message(Msg.OPEN_FAILURE, self.person.remote, u32(known), string(words), string("en"))
        )
        self.session.channel_over(self)

    def record(self, data: bytes, *, stderr: bool) -> None:
        """Have `data` in the recording, or raise. Only a bulk stream without a terminal is left out (see Keeping).

        An sftp channel's files have their rows instead; its stderr is text for people and is recorded.
        """
        if self.recorded or (stderr and self.kind is ChannelKind.SFTP):
            if self.pty or self._keeping.takes(len(data), clock.monotonic()):
                self.show_gap()
                self.session.record(self.number, data, stderr=stderr)
            elif self._keeping.skip(data, stderr=stderr):
                limit = self.session.output_limit
                self.session.mark(
                    f"channel {self.number}: over {limit} bytes of output; size and SHA-256 go on"
                )
        (self.traffic_err if stderr else self.traffic_out).add(data)

    def show_gap(self) -> None:
        """Say in the recording what a bulk stream left out, and show how that stretch ended."""
        left_out, tail = self._keeping.take_gap()
        if left_out:
            self.session.mark(f"channel {self.number}: {left_out} bytes of output are not shown here")
        for data, stderr in tail:
            self.session.record(self.number, data, stderr=stderr)

    def side_gone(self) -> None:
        if self.person.gone and self.asset.gone:
            self.session.channel_over(self)

    def on_person_request(self, name: str, want_reply: bool, body: bytes) -> None:
        if want_reply:
            self.person.reply(False)

    def on_asset_request(self, name: str, want_reply: bool, body: bytes) -> None:
        if want_reply:
            self.asset.reply(False)

    def on_asset_reply(self, success: bool) -> None:
        raise SSHException("a reply to a request that wasn't made")

    def tell(self, text: str) -> None:
        """Show a line of the gateway's own. Channels without a reader show nothing."""

    def tell_before(self, text: str) -> None:
        """As `tell`, on a channel that is open and on which nothing was started yet."""

    def tell_now(self, text: str) -> bool:
        """As `tell`, at the very end and without ever waiting. False where the connection is stuck."""
        return True


def printable(text: str, most: int = 300) -> str:
    """Text of somebody else's, fit for a terminal. Three dots at its end say that it was cut."""
    cut = text if len(text) <= most else f"{text[: most - 3]}..."
    return "".join(character if character.isprintable() else "?" for character in cut)


__all__ = ["STDERR", "AssetSide", "Decoder", "PersonSide", "Side", "SplicedChannel", "printable"]
