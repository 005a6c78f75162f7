"""A shell whose channel the gateway itself answered so far: the person never leaves it, the asset joins it.

The person's side keeps the numbers, the window and the terminal that it has. The swap happens between two messages
of the person, once the asset's side is open; what the person asked for before (terminal, environment, shell) is then
asked of the asset.
"""

from __future__ import annotations

import contextlib
import threading
from datetime import datetime
from typing import TYPE_CHECKING

from sessions.gateway.carry import SessionChannel
from sessions.gateway.local import Ends, LocalChannel
from sessions.gateway.relay import printable
from sessions.gateway.sides import PersonSide

if TYPE_CHECKING:
    from sessions.gateway.live import LiveSession

NOT_OPENED = 1


class HandedChannel(SessionChannel):
    """As any shell of a session, after it was handed over. `settled` is set when that was done, or failed."""

    def __init__(self, session: LiveSession, number: int, opened_at: datetime, held: LocalChannel) -> None:
        super().__init__(session, number, opened_at)
        session.person_leg.drop_id(self.person.local_id)  # the person knows it by the held one's
        self.settled = threading.Event()
        self._held = held
        self._first_window = 0

    def open(self, remote_id: int, window: int, max_packet: int, kind: str, body: bytes) -> None:
        self._first_window = window
        super().open(remote_id, window, max_packet, kind, body)

    def on_both_open(self) -> None:
        try:
            self._held.hand_over(self._take_over)
            self.say_what_waits()
        except EOFError:  # the person closed it while it was opened
            self.asset.finish(close=True)
        finally:
            self.settled.set()

    def _take_over(self, ends: Ends) -> PersonSide:
        """From here on the person's messages come to this channel; none comes while this runs."""
        person, asset = self.person, self.asset
        person.local_id, person.window, person.opened = ends.local_id, ends.window, True
        # What the person announced since the asset was told of their window.
        asset.announce(asset.credit.grant(max(0, ends.window - self._first_window)))
        person.announce(person.credit.adopt(ends.left, asset.window))
        person.on_request("pty-req", False, self._held.terminal())
        for variable in self._held.environment:
            person.on_request("env", False, variable)
        person.on_request("shell", False, b"")
        return person

    def on_asset_refused(self, code: int, text: str) -> None:
        self.asset.leg.drop_id(self.asset.local_id)
        with contextlib.suppress(EOFError):
            self._held.write(f"Breakglass: the asset refused a shell: {printable(text)}\n")
            self._held.finish(NOT_OPENED)
        self.session.channel_over(self)
        self.settled.set()
