"""A runbook's planned commands beside the ones that were run. Pure: text in, text out; nothing here is a verdict.

A runbook is prose for people. Commands are what stands as code in the items of its lists and in its code blocks, unless the
words before it say never; what was run is compared as normalised text, part by part of a command line. What doesn't
match is "not in the runbook": a flag for a reader, who may know why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from markdown_it import MarkdownIt
from markdown_it.token import Token

LONGEST = 64 * 1024
MOST_STEPS = 200
MOST_LINE = 2000

# A single word is as often a name as a command: only these are taken for one.
ALONE = frozenset(
    [
        "uptime",
        "df",
        "free",
        "date",
        "timedatectl",
        "last",
        "lsblk",
        "dmesg",
        "who",
        "w",
        "id",
        "hostname",
        "ps",
        "top",
        "ss",
        "mount",
        "lsof",
        "vmstat",
        "iostat",
        "sync",
        "reboot",
    ]
)
# What may stand behind a pipe without changing what the command before it does.
VIEWERS = frozenset(
    ["grep", "egrep", "head", "tail", "wc", "sort", "uniq", "cut", "tr", "cat", "nl", "column"]
)
_NEVER = re.compile(r"\b(never|don['\u2019]t|do not|must not|instead of)\b[^.:;]*$", re.IGNORECASE)
_SHAPE = re.compile(r"[A-Za-z_./][\w.+/-]*(\s|$)")
_SUDO = re.compile(r"^(?:sudo|doas)(?:\s+-[nEHS]+|\s+-u\s+\S+)*\s+")
_PLACE = re.compile(r"(<[^<>\s][^<>]*>|\{[^{}]+\}|\.\.\.|\u2026)")
_PLAIN = r"[^\s;|&$`<>()]"


@dataclass(frozen=True)
class Step:
    """One planned command: where it stands in the runbook, and the words around it."""

    number: int
    section: str
    command: str
    words: str = ""


@dataclass(frozen=True)
class Run:
    """One command that was run, at a second of a session's recording."""

    session_id: UUID
    label: str
    at: float
    command: str
    exact: bool = True
    exit_status: int | None = None
    planned: bool = False


@dataclass(frozen=True)
class Row:
    """A step, and where it was seen: the first run of it, and how many there were."""

    step: Step
    runs: tuple[Run, ...]

    @property
    def done(self) -> bool:
        return bool(self.runs)


@dataclass(frozen=True)
class Comparison:
    """`steps` in the runbook's order; `runs` in the order in which they were run, each marked planned or not."""

    steps: tuple[Row, ...]
    runs: tuple[Run, ...]

    @property
    def seen(self) -> int:
        return sum(row.done for row in self.steps)

    @property
    def others(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if not run.planned)


def steps_of(runbook: str, names: Iterable[str] = ()) -> list[Step]:
    """The planned commands of a runbook. `names`: of assets and logins, which aren't commands."""
    aside, found, section, depth = frozenset(names), list[Step](), "", 0
    tokens = _PARSER.parse(runbook[:LONGEST])
    for index, token in enumerate(tokens):
        depth += {"list_item_open": 1, "list_item_close": -1}.get(token.type, 0)
        if token.type == "heading_open":
            section = tokens[index + 1].content
        elif token.type in ("fence", "code_block"):
            lines = (line.strip() for line in token.content.splitlines())
            found += [Step(0, section, _bare(line)) for line in lines if line and line[0] != "#"]
        elif token.type == "inline" and depth:
            found += _inline(token, section, aside)
    unique = {normal(step.command): step for step in reversed(found)}
    ordered = [step for step in found if unique.get(normal(step.command)) is step]
    return [replace(step, number=number) for number, step in enumerate(ordered[:MOST_STEPS], 1)]


def compare(steps: Sequence[Step], runs: Iterable[Run]) -> Comparison:
    """Which steps were seen, and which commands stand in no step."""
    patterns = [(step, _pattern(step.command)) for step in steps]
    seen: dict[int, list[Run]] = {}
    marked = []
    for one in runs:
        hits = [_steps_hit(part, patterns) for part in parts(one.command)]
        run = replace(one, planned=bool(hits) and all(hits))
        marked.append(run)
        for number in {number for hit in hits for number in hit}:
            seen.setdefault(number, []).append(run)
    return Comparison(tuple(Row(step, tuple(seen.get(step.number, ()))) for step in steps), tuple(marked))


def normal(command: str) -> str:
    """A command without what differs from typing to typing: blanks, sudo, a prompt, quotes around all of it."""
    text = " ".join(_bare(command)[:MOST_LINE].split())
    text = _SUDO.sub("", text.rstrip("; "))
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def parts(line: str) -> list[str]:
    """The commands of one line, split at `;`, `&&`, `||`, `&` and line ends outside of quotes."""
    found, quote, begin, at = [], "", 0, 0
    line = line[:MOST_LINE]
    while at < len(line):
        sign = line[at]
        if quote:
            quote = "" if sign == quote else quote
        elif sign == "\\":
            at += 1
        elif sign in "'\"":
            quote = sign
        elif sign in ";\n" or line.startswith(("&&", "||"), at) or _backgrounds(line, at):
            found.append(line[begin:at])
            at += 1 if line.startswith(("&&", "||"), at) else 0
            begin = at + 1
        at += 1
    found.append(line[begin:])
    return [part for part in map(normal, found) if part]


def _backgrounds(line: str, at: int) -> bool:
    """`&` as in `job &`, not as in `2>&1` or `&>`."""
    return line[at] == "&" and line[at - 1 : at] not in ("<", ">") and line[at + 1 : at + 2] != ">"


def _steps_hit(part: str, patterns: Sequence[tuple[Step, re.Pattern[str]]]) -> list[int]:
    """The steps that this command is: as it stands, or with nothing but viewers behind its pipes."""
    first, *rest = (normal(piece) for piece in part.split("|"))
    tails = all(piece.split(" ")[0] in VIEWERS and not re.search(r"[>`$]", piece) for piece in rest)
    texts = [part, first] if rest and tails else [part]
    return [step.number for step, pattern in patterns if any(pattern.fullmatch(text) for text in texts)]


def _pattern(command: str) -> re.Pattern[str]:
    """The planned text, in which `<name>`, `{name}` stand for one word and `...` for any words without shell signs."""
    pieces = _PLACE.split(normal(command))
    spelled = []
    for piece in pieces:
        if piece in ("...", "\u2026"):
            spelled.append(r"[^;|&$`<>()]*")
        elif _PLACE.fullmatch(piece):
            spelled.append(f"{_PLAIN}+")
        else:
            spelled.append(re.escape(piece))
    return re.compile("".join(spelled))


def _inline(token: Token, section: str, aside: frozenset[str]) -> list[Step]:
    found, before = [], ""
    for child in token.children or ():
        if child.type == "code_inline":
            command = _remote(_bare(child.content))
            if command and _is_command(command, aside) and not _NEVER.search(before):
                found.append(Step(0, section, command, token.content[:300]))
        before += child.content or " "
    return found


def _remote(text: str) -> str:
    """`ssh ... COMMAND` is written for COMMAND on the asset; what ssh itself does happens on one's own machine."""
    if text.startswith(("ssh ... ", "ssh \u2026 ")):
        return normal(text.split(" ", 2)[2])
    return "" if text.split(" ", maxsplit=1)[0] in ("ssh", "scp", "sftp", "rsync") else text


def _is_command(text: str, aside: frozenset[str]) -> bool:
    if text in aside or not _SHAPE.match(text):
        return False
    words = text.split()
    return len(words) > 1 or words[0] in ALONE


def _bare(text: str) -> str:
    """Without the prompt of an example."""
    return re.sub(r"^\s*[$#%>]\s+", "", text).strip()


_PARSER = MarkdownIt("commonmark", {"html": False})
