"""Reading and building SSH messages, strictly: a field that runs over the end ends the connection."""

from __future__ import annotations

import struct
from enum import IntEnum

from paramiko.ssh_exception import SSHException


class Msg(IntEnum):
    """The message numbers that this gateway sends or handles itself."""

    DISCONNECT = 1
    SERVICE_REQUEST = 5
    SERVICE_ACCEPT = 6
    KEXINIT = 20
    USERAUTH_REQUEST = 50
    USERAUTH_FAILURE = 51
    USERAUTH_SUCCESS = 52
    USERAUTH_BANNER = 53
    USERAUTH_PK_OK = 60
    USERAUTH_INFO_REQUEST = 60
    USERAUTH_INFO_RESPONSE = 61
    GLOBAL_REQUEST = 80
    REQUEST_SUCCESS = 81
    REQUEST_FAILURE = 82
    CHANNEL_OPEN = 90
    OPEN_CONFIRMATION = 91
    OPEN_FAILURE = 92
    WINDOW_ADJUST = 93
    CHANNEL_DATA = 94
    EXTENDED_DATA = 95
    CHANNEL_EOF = 96
    CHANNEL_CLOSE = 97
    CHANNEL_REQUEST = 98
    CHANNEL_SUCCESS = 99
    CHANNEL_FAILURE = 100


class Disconnect(IntEnum):
    """Why a connection is closed, as the protocol numbers it."""

    PROTOCOL_ERROR = 2
    SERVICE_NOT_AVAILABLE = 7
    BY_APPLICATION = 11
    TOO_MANY_CONNECTIONS = 12
    NO_MORE_AUTH_METHODS = 14


class OpenFailure(IntEnum):
    PROHIBITED = 1
    CONNECT_FAILED = 2
    UNKNOWN_CHANNEL_TYPE = 3
    RESOURCE_SHORTAGE = 4


class Reader:
    """The fields of one message, in order."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise SSHException("message is cut short")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def u32(self) -> int:
        return int(struct.unpack(">I", self.take(4))[0])

    def boolean(self) -> bool:
        return self.take(1) != b"\0"

    def string(self, limit: int = 256 * 1024) -> bytes:
        size = self.u32()
        if size > limit:
            raise SSHException("string is too long")
        return self.take(size)

    def text(self, limit: int = 1024) -> str:
        try:
            return self.string(limit).decode("utf-8")
        except UnicodeDecodeError:
            raise SSHException("text isn't UTF-8") from None

    def rest(self) -> bytes:
        return self._data[self._at :]


def u32(number: int) -> bytes:
    return struct.pack(">I", number)


def string(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(data)) + data


def boolean(value: bool) -> bytes:
    return b"\1" if value else b"\0"


def message(number: int, *fields: bytes) -> bytes:
    return bytes((number,)) + b"".join(fields)
