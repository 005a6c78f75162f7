"""Paths on the asset, as bytes: made absolute, made plain, and taken apart. Pure."""

from __future__ import annotations

import posixpath

MOST_PATH = 4096


def absolute(path: bytes, home: bytes) -> bytes:
    """`path` as seen from `home`, without `.`, `..`, double or last slashes. Links are not looked through."""
    joined = posixpath.normpath(posixpath.join(home or b"/", path))
    return b"/" + joined.lstrip(b"/")


def parent_and_name(path: bytes) -> tuple[bytes, bytes]:
    """The folder that `path` is in, to be resolved, and its last name; b"" for that where the last step is no name."""
    folder, _, name = path.rstrip(b"/").rpartition(b"/")
    if name in (b"", b".", b".."):
        return path, b""
    if not folder:
        folder = b"/" if path.startswith(b"/") else b"."
    return folder, name


def shown(path: bytes) -> str:
    """As text; what isn't UTF-8 is shown as escapes, so that different paths stay different."""
    return path[:MOST_PATH].decode("utf-8", "backslashreplace")


def exact(path: bytes) -> str:
    """As text that differs wherever the bytes differ: for comparing, not for showing."""
    return path.decode("utf-8", "surrogateescape")


def visible(path: str) -> str:
    """Fit for a line on a terminal or in the recording."""
    return "".join(sign if sign.isprintable() else "?" for sign in path)
