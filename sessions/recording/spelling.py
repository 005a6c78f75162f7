"""How the recorder spells output: text as text, bytes that are no text exactly, and legible as far as they can be."""

from __future__ import annotations

from typing import Final

from sessions.recording import asciicast

SAMPLE: Final = 512
CONTROLS: Final = bytes({*range(7), *range(14, 27), *range(28, 32), 127})
"""Control characters that aren't for terminals; of random bytes one in ten is one."""


def is_binary(data: bytes) -> bool:
    """Whether a long piece begins as no text in any encoding does: by its share of control characters."""
    return len(data[:SAMPLE].translate(None, CONTROLS)) < SAMPLE - SAMPLE // 32


def binary(time: float, data: bytes) -> bytes:
    """Exact bytes, and for the reader their ASCII with a dot for all else: a third of the size of escapes."""
    return asciicast.bytes_line(time, asciicast.BYTES, data) + asciicast.dotted_line(time, data)


def shown(time: float, text: str, data: bytes) -> bytes:
    """The "o" line for a text, preceded by the exact bytes where the text alone can't give them back."""
    if not text:
        return b""
    line = asciicast.event_line(time, asciicast.OUTPUT, text)
    return line if text.encode() == data else asciicast.bytes_line(time, asciicast.BYTES, data) + line
