"""What people type, made fit to be kept: stored, hashed, mailed and shown the same everywhere."""

from __future__ import annotations

import unicodedata

# Controls (but for the two that only lay text out), invisible and bidirectional marks, lone surrogates, odd line ends.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def storable(text: str) -> str:
    """`text` with U+FFFD for NUL, which PostgreSQL can't store, and for lone surrogates, which can't be encoded."""
    return "".join("\ufffd" if char == "\x00" or "\ud800" <= char <= "\udfff" else char for char in text)


def plain(text: str, most: int) -> str:
    """`text` as it can be stored, without surrounding space, at most `most` characters."""
    return storable(text.strip()[:most])


def one_line(text: str, most: int) -> str:
    """As `plain`, with every run of white space and line breaks a single space: for subjects and labels."""
    return plain(" ".join(text.split()), most)


def visible(text: str) -> str:
    """`text` with U+FFFD for all that could rewrite a terminal or hide words; line breaks and tabs stay."""
    return "".join(
        "\ufffd" if char not in "\n\t" and unicodedata.category(char) in _UNSEEN else char
        for char in text.replace("\r\n", "\n")
    )
