"""The wire format of SSH keys and certificates: RFC 4251 section 5, built and read strictly."""

from __future__ import annotations


def string(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(4, "big") + data


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


class Fields:
    """The fields of a blob, in order. Every reader raises ValueError where the blob doesn't hold what is asked for."""

    def __init__(self, blob: bytes) -> None:
        self._blob = bytes(blob)
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._blob[self._at : self._at + count]
        if len(piece) != count:
            raise ValueError("cut short")
        self._at += count
        return piece

    def number(self, size: int) -> int:
        """Unsigned, of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def string(self) -> bytes:
        return self.take(self.number(4))

    def text(self) -> str:
        """A string of plain ASCII."""
        return self.string().decode("ascii")

    def mpint(self) -> int:
        """A positive number; a negative one is ValueError."""
        data = self.string()
        if data[:1] >= b"\x80":
            raise ValueError("a negative number")
        return int.from_bytes(data, "big")

    def end(self) -> None:
        """That nothing is left."""
        if self._at != len(self._blob):
            raise ValueError("bytes are left over")

    @property
    def is_over(self) -> bool:
        return self._at == len(self._blob)

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._at
