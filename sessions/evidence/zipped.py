"""A zip whose every byte follows from its members: stored, in order, no times, no extras, no comment.

`verify.py` builds the same headers again and compares, so that a flipped byte anywhere in the file shows.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

MOST_BYTES: Final = 2**32 - 2**20
"""No zip64: one more format, and readers that lack it."""

_LOCAL: Final = struct.Struct("<IHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<IHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<IHHHHIIH")
_NEW_YEAR_1980: Final = 0x21
_UNIX_FILE_0644: Final = 0o100644 << 16


class TooLarge(Exception):
    """The members don't fit into a zip of 4 GiB."""


@dataclass(frozen=True)
class Member:
    """A file of the bundle. `read` gives its bytes, the same ones each time; it may be read three times."""

    path: str
    read: Callable[[], Iterable[bytes]]

    @classmethod
    def packed(cls, path: str, pieces: Iterable[bytes]) -> Member:
        """For what takes long to make: made once, and held compressed in memory meanwhile."""
        packer = zlib.compressobj(1)
        held = [packed for piece in pieces if (packed := packer.compress(piece))] + [packer.flush()]
        return cls(path, lambda: _unpacked(held))

    @classmethod
    def of(cls, path: str, content: bytes | str) -> Member:
        data = content.encode() if isinstance(content, str) else content
        return cls(path, lambda: (data,))


def _unpacked(held: list[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    for piece in held:
        yield unpacker.decompress(piece)
    yield unpacker.flush()


@dataclass(frozen=True)
class Measured:
    """A member with what its headers and the manifest say of it."""

    member: Member
    size: int
    crc: int
    sha256: str

    @property
    def path(self) -> str:
        return self.member.path


def measure(member: Member) -> Measured:
    """Read the member once. Raises whatever its reading raises."""
    size, crc, digest = 0, 0, hashlib.sha256()
    for piece in member.read():
        size += len(piece)
        crc = zlib.crc32(piece, crc)
        digest.update(piece)
    return Measured(member, size, crc, digest.hexdigest())


def pieces(members: list[Measured]) -> Iterator[bytes]:
    """The zip, piece by piece, in little memory. Raises ValueError if a member isn't what was measured."""
    offset, directory = 0, []
    for one in members:
        directory.append(_central(one, offset))
        header = _local(one)
        yield header
        yield from _checked(one)
        offset += len(header) + one.size
    index = b"".join(directory)
    yield index + _END.pack(0x06054B50, 0, 0, len(members), len(members), len(index), offset, 0)


def size_of(members: list[Measured]) -> int:
    """How many bytes the zip will have. Raises TooLarge."""
    names = sum(2 * len(one.path) for one in members)
    whole = sum(one.size + _LOCAL.size + _CENTRAL.size for one in members) + names + _END.size
    if whole > MOST_BYTES or len(members) > 65_000:
        raise TooLarge(f"{whole >> 20} MiB in {len(members)} files don't fit into one zip")
    return whole


def _checked(one: Measured) -> Iterator[bytes]:
    size, crc = 0, 0
    for piece in one.member.read():
        size += len(piece)
        crc = zlib.crc32(piece, crc)
        yield piece
    if (size, crc) != (one.size, one.crc):
        raise ValueError(f"{one.path} changed while the bundle was made")


def _local(one: Measured) -> bytes:
    name = one.path.encode("ascii")
    head = _LOCAL.pack(0x04034B50, 20, 0, 0, 0, _NEW_YEAR_1980, one.crc, one.size, one.size, len(name), 0)
    return head + name


def _central(one: Measured, offset: int) -> bytes:
    name = one.path.encode("ascii")
    made_by_unix = (3 << 8) | 20
    sizes = (one.crc, one.size, one.size, len(name))
    head = _CENTRAL.pack(
        0x02014B50, made_by_unix, 20, 0, 0, 0, _NEW_YEAR_1980, *sizes, 0, 0, 0, 0, _UNIX_FILE_0644, offset
    )
    return head + name
