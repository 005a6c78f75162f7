# ruff: noqa: RUF001 - the look-alikes are the point
"""Words of people on their way into chats, pagers and mails: they say what they say, and do nothing there.

Each service has marks that make words act: mentions that wake a whole house, links, pictures, markup. Such a mark is
replaced by one that looks like it and means nothing.
"""

from __future__ import annotations

import re
import unicodedata

_ACTING = str.maketrans(
    {
        "<": "‹",
        ">": "›",
        "&": "＆",
        "@": "＠",
        "[": "(",
        "]": ")",
        "`": "ʼ",
        "*": "∗",
        "~": "∼",
        "|": "¦",
        "#": "＃",
        "\\": "＼",
        "\t": " ",
    }
)
# snake_case keeps its marks: between letters no service reads markup in them.
_EMPHASIS = re.compile(r"(?<!\w)_+|_+(?!\w)")
_ADDRESS = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}):(?=//)|\bwww(?=\.)|\b(mailto|tel|javascript|data):")
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def harmless(text: str, most: int) -> str:
    """`text` without anything that a service would act on, at most `most` characters; line breaks stay, three at most in a row."""
    seen = "".join(
        char if char == "\n" or unicodedata.category(char) not in _UNSEEN else "\ufffd"
        for char in text.replace("\r\n", "\n").translate(_ACTING)
    )
    flat = _ADDRESS.sub(_spelt, _EMPHASIS.sub(lambda mark: "＿" * len(mark[0]), seen))
    flat = re.sub(r"\n{3,}", "\n\n", flat).strip()
    return flat if len(flat) <= most else flat[: most - 1].rstrip() + "…"


def harmless_line(text: str, most: int) -> str:
    """The same in one line, for subjects."""
    return harmless(" ".join(text.split()), most)


def _spelt(address: re.Match[str]) -> str:
    """An address that no service makes a link of, and that a person can still read."""
    found = address[0]
    return "www " if found.lower() == "www" else f"{found[:-1]} :"
