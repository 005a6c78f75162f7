"""Load the catalogue: every fault of every file at once, each as `file:line: field: message`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from playbooks.digest import digest_of
from playbooks.reading import Document, Loc, Problem, Unreadable, read
from playbooks.schema import Approvers, Clock, Destination, Duration, Files, PlaybookSpec, Requesters

MAX_FILES = 500
CATALOG = Path(__file__).parent / "catalog"

_NESTED: dict[str, type[BaseModel]] = {
    "duration": Duration,
    "clock": Clock,
    "approvers": Approvers,
    "requesters": Requesters,
    "forward_to": Destination,
    "files": Files,
}


@dataclass(frozen=True)
class LoadedPlaybook:
    """A valid playbook, the digest that names it, and the file that it came from."""

    spec: PlaybookSpec
    digest: str
    path: Path


class CatalogErrors(Exception):
    """Everything that is wrong with a catalogue; nothing of it was loaded."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def load_catalog(path: Path | str = CATALOG) -> list[LoadedPlaybook]:
    """Every playbook under `path` (a folder, or one file), by slug; raises CatalogErrors if one is faulty."""
    problems: list[Problem] = []
    documents: list[tuple[LoadedPlaybook, Document]] = []
    for file in _files(Path(path)):
        try:
            document = read(file)
            spec = PlaybookSpec.from_plain(document.plain)
        except Unreadable as error:
            problems.append(Problem(str(file), error.line, error.field, error.message))
        except ValidationError as invalid:
            problems.extend(_problems(invalid, file, document))
        else:
            documents.append((LoadedPlaybook(spec, digest_of(spec), file), document))
    problems.extend(_clashes(documents))
    if problems:
        raise CatalogErrors(problems)
    return sorted((loaded for loaded, _ in documents), key=lambda loaded: loaded.spec.slug)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(
            f for f in path.iterdir() if f.suffix in (".yaml", ".yml") and not f.name.startswith(".")
        )
    elif path.exists():
        files = [path]
    else:
        raise CatalogErrors(
            [Problem(str(path), 1, "file", "doesn't exist: name a folder of playbooks, or one file")]
        )
    if not files:
        raise CatalogErrors(
            [Problem(str(path), 1, "file", "holds no .yaml file: put one playbook a file here")]
        )
    if len(files) > MAX_FILES:
        raise CatalogErrors(
            [Problem(str(path), 1, "file", f"holds more than {MAX_FILES} files: split the folder")]
        )
    return files


def _clashes(documents: Sequence[tuple[LoadedPlaybook, Document]]) -> Iterator[Problem]:
    """What is wrong only between files: one slug twice, or one asset in two classes (E8)."""
    slugs: dict[str, Path] = {}
    classes: dict[str, tuple[str, Path]] = {}
    for loaded, document in documents:
        spec, file = loaded.spec, loaded.path
        first = slugs.setdefault(spec.slug, file)
        if first != file:
            line = document.line_of(("slug",))
            yield Problem(
                str(file), line, "slug", f"{spec.slug} is already used by {first.name}: choose another"
            )
        for index, asset in enumerate(spec.assets):
            kind, where = classes.setdefault(asset, (spec.asset_class.value, file))
            if kind != spec.asset_class:
                message = f"{asset} is of class {kind} in {where.name}: an asset has one class, and a playbook too (E8)"
                yield Problem(str(file), document.line_of(("assets", index)), f"assets[{index}]", message)


def _problems(invalid: ValidationError, file: Path, document: Document) -> Iterator[Problem]:
    errors = invalid.errors(include_url=False, include_input=False)
    for error in errors:
        if error["type"] == "too_short" and any(_within(other["loc"], error["loc"]) for other in errors):
            continue  # it only looks empty because each of its items is faulty
        context: Mapping[str, Any] = error.get("ctx", {})
        if error["type"] == "disagreement":
            for field, message in context["problems"]:
                yield Problem(str(file), document.line_of(tuple(field.split("."))), field, message)
            continue
        loc = error["loc"]
        message = _advice(error["type"], loc, context, error["msg"])
        yield Problem(str(file), document.line_of(loc), _field_name(loc), message)


def _within(inner: Loc, outer: Loc) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _field_name(loc: Loc) -> str:
    name = ""
    for step in loc:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name or "file"


_WANTED = {
    "string_type": "must be text: put it in quotes",
    "int_type": "must be a whole number, without quotes",
    "bool_type": "must be true or false, without quotes",
    "tuple_type": "must be a list: write one item a line, each after a hyphen",
    "model_type": "must be a group of fields, indented below it",
    "too_short": "is empty: name at least one",
}


def _advice(kind: str, loc: Loc, context: Mapping[str, Any], message: str) -> str:
    """What is wrong and what to do, in the words of an author of playbooks."""
    if kind == "missing":
        return f"is missing: add it ({_description(loc)})"
    if kind == "extra_forbidden":
        return _unknown_field(loc)
    if kind == "value_error":
        return str(context["error"])
    if kind in ("enum", "literal_error"):
        return f"must be {context['expected']}"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return f"must be {bound} ({_description(loc)})"
    if kind in ("too_long", "string_too_long"):
        return f"is too long: at most {context['max_length']}"
    return _WANTED.get(kind, message)


def _model_at(loc: Loc) -> type[BaseModel]:
    return _NESTED.get(str(loc[0]), PlaybookSpec) if len(loc) > 1 else PlaybookSpec


def _description(loc: Loc) -> str:
    field = _model_at(loc).model_fields.get(str(loc[-1]))
    return field.description if field and field.description else "see playbooks/schema.py"


def _unknown_field(loc: Loc) -> str:
    known = list(_model_at(loc).model_fields)
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    if close:
        return f"isn't a field here: did you mean {close[0]}?"
    return f"isn't a field here: remove it, or use one of {', '.join(known)}"
