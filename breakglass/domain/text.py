"""What people type, made fit to be kept: stored, hashed, mailed and shown the same everywhere."""

from __future__ import annotations


def plain(text: str, most: int) -> str:
    """`text` without surrounding space, at most `most` characters.

    NUL, which PostgreSQL can't store, and lone surrogates, which can't be encoded, become U+FFFD.
    """
    kept = text.strip()[:most].replace("\x00", "\ufffd")
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in kept)


def one_line(text: str, most: int) -> str:
    """As `plain`, with every run of white space and line breaks a single space: for subjects and labels."""
    return plain(" ".join(text.split()), most)
