"""Whom a leg calls, and with what. Always in the leg's reader thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from paramiko.message import Message

from sessions.gateway.wire import Reader


class End(Protocol):
    """What a leg calls for one channel number, always in the leg's reader thread."""

    def on_data(self, plain: bytearray, count: int, size: int, extended: int | None) -> None: ...

    def on_opened(self, remote_id: int, window: int, max_packet: int) -> None: ...

    def on_open_failed(self, code: int, text: str) -> None: ...

    def on_adjust(self, count: int) -> None: ...

    def on_request(self, name: str, want_reply: bool, body: bytes) -> None: ...

    def on_reply(self, success: bool) -> None: ...

    def on_eof(self) -> None: ...

    def on_close(self) -> None: ...


class Connection(Protocol):
    """What a leg calls for what isn't about one open channel."""

    def on_channel_open(
        self, kind: str, remote_id: int, window: int, max_packet: int, body: Reader
    ) -> None: ...

    def on_global_request(self, name: str, want_reply: bool, body: Reader) -> None: ...

    def on_down(self, error: BaseException | None) -> None: ...


class Authenticator(Protocol):
    """The server's side of authentication, as paramiko's run loop sees it."""

    @property
    def _handler_table(self) -> dict[int, Callable[[Message], None]]: ...

    def is_authenticated(self) -> bool: ...

    def get_username(self) -> str | None: ...

    def abort(self) -> None: ...
