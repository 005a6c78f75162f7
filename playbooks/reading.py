"""From the bytes of a file to plain data whose every place is known; hostile YAML is refused before it is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

MAX_BYTES = 256 * 1024
MAX_NODES = 2_000
MAX_DEPTH = 8

Loc = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Problem:
    """One fault: where it is, and what to do about it."""

    path: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.field}: {self.message}"


class Unreadable(Exception):
    """The file can't be turned into data at all."""

    def __init__(self, line: int, field: str, message: str) -> None:
        super().__init__(message)
        self.line, self.field, self.message = line, field, message


class Document:
    """The data of one file, and the line of each field in it."""

    def __init__(self, root: CommentedMap) -> None:
        self._root = root
        self.plain: dict[str, Any] = _plain(root, 1, "file")

    def line_of(self, loc: Loc) -> int:
        """The line of the field at `loc`, or of the nearest thing around it that is in the file."""
        node: Any = self._root
        line = 1
        for step in loc:
            if isinstance(node, CommentedMap) and step in node:
                line = node.lc.key(step)[0] + 1
            elif isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node):
                line = node.lc.item(step)[0] + 1
            else:
                break
            node = node[step]
        return line


def read(path: Path) -> Document:
    """The one mapping that the file holds; raises Unreadable, with the line, for anything else."""
    text = _text_of(path)
    try:
        _refuse_hostile(text)
        root = YAML(typ="rt", pure=True).load(text)
    except DuplicateKeyError as error:
        raise _duplicate_key(error) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise Unreadable(
            line, "yaml", f"isn't valid YAML: {_short(error.problem or error.context)}"
        ) from None
    except (YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(1, "yaml", f"isn't valid YAML: {_short(str(error))}") from None
    if not isinstance(root, CommentedMap):
        raise Unreadable(1, "file", "must hold one mapping of fields: start with schema_version: 1")
    return Document(root)


def _text_of(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise Unreadable(1, "file", "isn't a regular file: put the playbook itself here")
    with path.open("rb") as source:
        raw = source.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise Unreadable(1, "file", f"is larger than {MAX_BYTES // 1024} KiB: shorten the runbook")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, "file", "isn't UTF-8 text: save it as UTF-8") from None


def _refuse_hostile(text: str) -> None:
    """Walk the parser's events, which build nothing, and stop at the first thing no playbook needs."""
    depth = nodes = documents = 0
    for event in YAML(typ="rt", pure=True).parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, NodeEvent):
            nodes += 1
            _refuse_node(event, line)
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            depth -= 1
        elif isinstance(event, DocumentStartEvent):
            documents += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise Unreadable(line, "yaml", "is too large or too deeply nested for a playbook: simplify it")
        if documents > 1:
            raise Unreadable(line, "yaml", "holds a second document: write one playbook a file")


def _refuse_node(event: NodeEvent, line: int) -> None:
    if isinstance(event, AliasEvent) or event.anchor is not None:
        raise Unreadable(line, "yaml", "anchors and aliases (& and *) are refused: write the value out")
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise Unreadable(line, "yaml", f"the tag {tag} is refused: write plain values without tags")
    if isinstance(event, ScalarEvent) and event.value == "<<" and event.style is None:
        raise Unreadable(line, "yaml", "merge keys (<<) are refused: write the fields out")


def _plain(node: Any, line: int, field: str) -> Any:
    """Plain Python data; what JSON can't say (dates, binary, NaN) is refused by name."""
    if isinstance(node, CommentedMap):
        found = {}
        for key, value in node.items():
            key_line = node.lc.key(key)[0] + 1
            if not isinstance(key, str):
                raise Unreadable(key_line, str(key), "isn't a field name: field names are text")
            found[str(key)] = _plain(value, key_line, str(key))
        return found
    if isinstance(node, CommentedSeq):
        return [_plain(item, node.lc.item(i)[0] + 1, f"{field}[{i}]") for i, item in enumerate(node)]
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, str):
        return str(node)
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float) and abs(node) < 1e15:
        return float(node)
    raise Unreadable(line, field, f"holds a {type(node).__name__}, not text or a number: put it in quotes")


def _duplicate_key(error: DuplicateKeyError) -> Unreadable:
    mark = error.problem_mark
    line = mark.line + 1 if mark else 1
    words = (error.problem or "").split('"')
    field = words[1] if len(words) > 2 else "yaml"
    return Unreadable(line, field, "is written twice in the same place: remove one")


def _short(message: str | None) -> str:
    lines = (message or "it can't be parsed").strip().splitlines()
    return lines[0] if lines else "it can't be parsed"
