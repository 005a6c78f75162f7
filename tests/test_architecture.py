"""The walls of the house: who may import whom, and who alone may make, write or read certain things.

Each check is a function over a module's syntax; each is shown to catch what it is there to catch.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("breakglass", "sessions", "playbooks")
LONGEST_FILE, LONGEST_FUNCTION, SHARE = 360, 45, 0.95
# Nothing is so special that it may be longer than this.
NO_FILE, NO_FUNCTION = 450, 60
# A program for people who have nothing of ours: one file, which they can read from its top to its end.
FOR_STRANGERS = ROOT / "sessions/evidence/verify.py"

Finder = Callable[[ast.Module], Iterator[int]]


def _sources() -> Iterator[Path]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "migrations" not in path.parts and path != FOR_STRANGERS:
                yield path


def _name(node: ast.expr) -> str:
    """`a.b.c` of a chain of attributes; empty where it is something else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield _name(node.func), node


def _imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def makes_an_authorization(tree: ast.Module) -> Iterator[int]:
    for name, call in _calls(tree):
        if name.rpartition(".")[2] == "SessionAuthorization":
            yield call.lineno


def writes_the_trail(tree: ast.Module) -> Iterator[int]:
    writing = {
        "create",
        "bulk_create",
        "get_or_create",
        "update_or_create",
        "bulk_update",
        "abulk_create",
        "acreate",
    }
    for name, call in _calls(tree):
        words = name.split(".")
        if words[-1] == "AuditEvent" or ("AuditEvent" in words and words[-1] in writing):
            yield call.lineno
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and "breakglass_auditevent" in node.value
        ):
            yield node.lineno


WALL_CLOCK = {
    *(f"datetime.{name}" for name in ("now", "utcnow", "today")),
    *(f"dt.datetime.{name}" for name in ("now", "utcnow", "today")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    "date.today",
    "datetime.date.today",
    *(f"time.{name}" for name in ("time", "time_ns", "localtime", "gmtime", "ctime", "clock_gettime")),
    *(f"timezone.{name}" for name in ("now", "localtime", "localdate")),
    "Now",
}
CLOCK_NAMES = {"time.time", "time.time_ns", "django.utils.timezone.now", "django.db.models.functions.Now"}


def reads_the_wall_clock(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        # Also where it is only mentioned, as in `default=timezone.now`.
        if isinstance(node, ast.Attribute) and _name(node) in WALL_CLOCK:
            yield node.lineno
        if isinstance(node, ast.keyword) and node.arg in {"auto_now", "auto_now_add"}:
            yield node.value.lineno
    yield from (line for name, line in _imported(tree) if name in CLOCK_NAMES)


def leaves_the_standard_library(tree: ast.Module) -> Iterator[int]:
    for name, line in _imported(tree):
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(
            "breakglass.domain."
        ):
            yield line


def imports_by_star(tree: ast.Module) -> Iterator[int]:
    return (line for name, line in _imported(tree) if name.endswith(".*"))


def connects_a_signal(tree: ast.Module) -> Iterator[int]:
    """Rules are called by name; none hides behind the saving of a row."""
    return (line for name, line in _imported(tree) if name.startswith("django.db.models.signals"))


def _offenders(finder: Finder, *, allowed: tuple[str, ...] = (), below: str = "") -> list[str]:
    found = []
    for path in _sources():
        where = str(path.relative_to(ROOT))
        if where.startswith(below) and not where.startswith(allowed or ("\0",)):
            found += [f"{where}:{line}" for line in finder(ast.parse(path.read_text()))]
    return found


@pytest.mark.parametrize(
    ("finder", "allowed", "below"),
    [
        (makes_an_authorization, ("sessions/gateway/pep.py",), ""),
        (writes_the_trail, ("breakglass/services/audit.py", "breakglass/models/audit_event.py"), ""),
        (reads_the_wall_clock, ("breakglass/clock.py",), ""),
        (leaves_the_standard_library, (), "breakglass/domain/"),
        (leaves_the_standard_library, (), "sessions/states.py"),
        (imports_by_star, (), ""),
        (connects_a_signal, (), ""),
    ],
    ids=lambda value: getattr(value, "__name__", str(value) or "-"),
)
def test_this_happens_in_its_one_place_only(finder: Finder, allowed: tuple[str, ...], below: str) -> None:
    assert _offenders(finder, allowed=allowed, below=below) == []
    for place in allowed:
        # The one place is really there: a renamed file must not turn the check into nothing.
        assert (ROOT / place).exists()


@pytest.mark.parametrize(
    ("finder", "source"),
    [
        (makes_an_authorization, "a = pep.SessionAuthorization(x=1)"),
        (makes_an_authorization, "a = SessionAuthorization(1)"),
        (writes_the_trail, "AuditEvent(seq=1).save()"),
        (writes_the_trail, "models.AuditEvent.objects.create(seq=1)"),
        (writes_the_trail, "cursor.execute('INSERT INTO breakglass_auditevent VALUES (1)')"),
        (reads_the_wall_clock, "from datetime import datetime\nx = datetime.now()"),
        (reads_the_wall_clock, "import time\nx = time.time()"),
        (reads_the_wall_clock, "from time import time"),
        (reads_the_wall_clock, "from django.utils import timezone\nx = F(default=timezone.now)"),
        (reads_the_wall_clock, "from django.utils.timezone import now"),
        (reads_the_wall_clock, "x = models.DateTimeField(auto_now_add=True)"),
        (leaves_the_standard_library, "import django"),
        (leaves_the_standard_library, "from breakglass.models import Grant"),
        (leaves_the_standard_library, "def f():\n    from redis import Redis"),
        (imports_by_star, "from breakglass.models import *"),
        (connects_a_signal, "from django.db.models.signals import post_save"),
    ],
)
def test_each_check_catches_what_it_is_there_for(finder: Finder, source: str) -> None:
    assert list(finder(ast.parse(source)))


def test_imports_go_one_way() -> None:
    """The contracts are in pyproject.toml."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_no_room_is_called_by_what_it_is_not() -> None:
    names = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [path for path in _sources() if names & {path.stem, *path.relative_to(ROOT).parts}] == []


def _function_lengths() -> Iterator[tuple[int, str]]:
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno
                where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                yield node.end_lineno - node.lineno + 1, where


def _file_lengths() -> Iterator[tuple[int, str]]:
    for path in _sources():
        yield len(path.read_text().splitlines()), str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    ("lengths", "usual", "most"),
    [
        (_file_lengths, LONGEST_FILE, NO_FILE),
        (_function_lengths, LONGEST_FUNCTION, NO_FUNCTION),
    ],
)
def test_nearly_everything_is_short_and_nothing_is_very_long(
    lengths: Callable[[], Iterator[tuple[int, str]]], usual: int, most: int
) -> None:
    found = sorted(lengths(), reverse=True)
    long = [f"{length} {where}" for length, where in found if length > usual]
    assert len(long) <= len(found) * (1 - SHARE), "\n".join(long)
    assert found[0][0] <= most, found[0]
