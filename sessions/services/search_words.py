"""How texts become words that can be found, the same on both databases.

Everything that is no letter or digit parts words: `/etc/ssh/sshd_config` is etc, ssh, sshd, config, and is found by any of them,
and by the whole of it, which is those four in a row. Letters count without their case and accents.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

MOST_WORD: Final = 100
MOST_TERMS: Final = 12
_WORD = re.compile(r"[^\W_]+")
_PARTS = re.compile(r'"([^"]*)"|(\S+)')


def words_of(text: str) -> list[str]:
    """The words of a text, in order."""
    return [word[:MOST_WORD] for word in _WORD.findall(folded(text))]


def folded(text: str) -> str:
    """Without case and accents."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in parts if not unicodedata.combining(char))


@dataclass(frozen=True)
class Term:
    """Words that must stand in a row; `open`: the last of them may go on."""

    words: tuple[str, ...]
    open: bool


def terms_of(asked: str) -> list[Term]:
    """What is looked for: each run of characters, or what stands in quotes; all must be there. The last one, unless in
    quotes, may be unfinished: people read results while they type."""
    terms = []
    for quoted, run in _PARTS.findall(asked[:500])[:MOST_TERMS]:
        words = tuple(words_of(quoted or run.replace('"', " ")))[:MOST_TERMS]
        if words:
            terms.append(Term(words, not quoted))
    return terms


def is_enough(terms: list[Term]) -> bool:
    """Whether that is worth looking for: one letter alone isn't."""
    return any(len("".join(term.words)) >= 2 for term in terms)


def snippet(text: str, terms: list[Term], most: int = 180) -> list[tuple[str, bool]]:
    """The line of `text` with the most hits as parts, each with whether it is one; about `most` characters of it."""
    best = ""
    hits: list[tuple[int, int]] = []
    for line in text.split("\n"):
        found = _hits(line, terms)
        if len(found) > len(hits) or not best:
            best, hits = line, found
    start = max(0, hits[0][0] - most // 3) if hits else 0
    end = min(len(best), start + most)
    parts: list[tuple[str, bool]] = [("… ", False)] if start else []
    at = start
    for first, last in hits:
        if first < at or first >= end:
            continue
        parts += [(best[at:first], False), (best[first : min(last, end)], True)]
        at = min(last, end)
    parts += [(best[at:end] + (" …" if end < len(best) else ""), False)]
    return [(part, hit) for part, hit in parts if part]


def line_with(text: str, terms: list[Term]) -> int:
    """The number of the line of `text` that the snippet is taken from."""
    counts = [len(_hits(line, terms)) for line in text.split("\n")]
    return counts.index(max(counts))


def _hits(line: str, terms: list[Term]) -> list[tuple[int, int]]:
    """Where in the line words of the terms stand."""
    wanted = {word for term in terms for word in term.words}
    open_ends = tuple(term.words[-1] for term in terms if term.open)
    found = []
    for match in _WORD.finditer(line):
        word = folded(match[0])[:MOST_WORD]
        if word in wanted:
            found.append(match.span())
        elif open_ends and word.startswith(open_ends):
            longest = max(len(end) for end in open_ends if word.startswith(end))
            found.append((match.start(), min(match.end(), match.start() + longest)))
    return found
