"""`python -m tests.faults.vandal FOLDER`: somebody who owns the database edits the audit trail, each time a whole one.

A program: the settings come from the environment. Every edit is made on a fresh copy of a trail that a notary signed and an
anchor keeps; `verify_audit` must name it, by its words and its exit code. Prints how long that took, as JSON.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROWS = 300
TRAIL, HEAD, POINTS = "breakglass_auditevent", "breakglass_audithead", "breakglass_auditcheckpoint"
Edit = Callable[[Path], None]


def main(folder: Path) -> None:
    import django

    django.setup()
    copies = Copies(folder)
    signed(folder)
    copies.keep()
    took = {}
    for name, (edit, code, words) in edits().items():
        copies.fresh()
        edit(folder)
        begun = time.monotonic()
        found, said = verified(folder)
        took[name] = time.monotonic() - begun
        assert found == code, f"{name}: exit code {found}, not {code}:\n{said}"
        assert words in said, f"{name}: {words!r} isn't said:\n{said}"
    copies.done()
    print(json.dumps(took))


def signed(folder: Path) -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command(
        "make_notary_key", str(folder / "key"), "--name", "vandal.example/audit", stdout=io.StringIO()
    )
    for _ in range(2):
        more(ROWS // 2)
        anchors = f"file://{folder / 'anchor'}"
        call_command(
            "run_notary",
            "--key-file",
            str(folder / "key"),
            "--anchors",
            anchors,
            "--once",
            stdout=io.StringIO(),
        )


def more(count: int) -> None:
    from django.db import transaction

    from breakglass import clock
    from breakglass.domain.audit import AuditTag
    from breakglass.services import audit

    for number in range(count):
        with transaction.atomic():
            audit.append(AuditTag.LOGIN_FAILED, actor="rita", subject=f"web:{number}", now=clock.now())


def verified(folder: Path) -> tuple[int, str]:
    from django.core.management import call_command

    out = io.StringIO()
    try:
        call_command("verify_audit", "--checkpoint", str(folder / "anchor"), stdout=out, stderr=out)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


def edits() -> Mapping[str, tuple[Edit, int, str]]:
    """What is done, the exit code that says so, and a word of it."""
    return {
        "nothing": (lambda _: None, 0, "OK: 301 rows"),
        "update a row": (sql(f"UPDATE {TRAIL} SET subject = 'x' WHERE seq = 77"), 1, "row 77 was changed"),
        "update a row and its hash": (rehashed, 1, "row 78 doesn't follow"),
        "delete a row": (sql(f"DELETE FROM {TRAIL} WHERE seq = 77"), 1, "row 77 is missing"),
        "insert a row": (inserted, 1, "row 400 was added outside the chain"),
        "cut the end off": (sql(f"DELETE FROM {TRAIL} WHERE seq > 200"), 3, "row 201 is missing"),
        "cut the end off, head too": (cut, 3, "the trail has only 200"),
        "cut the end off, head and checkpoints too": (forgetful_cut, 3, "the trail has only 200"),
        "truncate": (sql(f"DELETE FROM {TRAIL}"), 3, "row 1 is missing"),
        "write it anew, head too": (rewritten, 4, "aren't those that were signed"),
        "write it anew, head and checkpoints too": (forgetful, 4, "aren't those that were signed"),
        "write it anew and sign it with another key": (resigned, 4, "known here"),
        "change a checkpoint": (
            sql(f"UPDATE {POINTS} SET note = replace(note, 'vandal', 'random')"),
            7,
            "checkpoint",
        ),
    }


def sql(*statements: str) -> Edit:
    """As a superuser: the triggers go first."""

    def edit(_: Path) -> None:
        from django.db import connection

        from breakglass.models.audit_triggers import PROTECT, UNPROTECT

        with connection.cursor() as cursor:
            for statement in (*UNPROTECT[connection.vendor], *statements, *PROTECT[connection.vendor]):
                cursor.execute(statement)

    return edit


def rehashed(folder: Path) -> None:
    from breakglass.domain.audit import link
    from breakglass.models import AuditEvent

    row = AuditEvent.objects.get(seq=77)
    body = row.body.replace(b'"subject":"web:', b'"subject":"wob:')
    hex_of = {"body": body.hex(), "hash": link(row.previous_hash, body)}
    pairs = ", ".join(f"{column} = {_blob(digits)}" for column, digits in hex_of.items())
    sql(f"UPDATE {TRAIL} SET subject = replace(subject, 'web:', 'wob:'), {pairs} WHERE seq = 77")(folder)


def inserted(folder: Path) -> None:
    columns = "at, tag, actor, actor_name, subject, body, previous_hash"
    sql(
        f"INSERT INTO {TRAIL} (seq, hash, {columns}) SELECT 400, {_blob('ab' * 32)}, {columns} FROM {TRAIL} WHERE seq = 7"
    )(folder)


def cut(folder: Path) -> None:
    sql(
        f"DELETE FROM {TRAIL} WHERE seq > 200",
        f"UPDATE {HEAD} SET seq = 200, hash = (SELECT hash FROM {TRAIL} WHERE seq = 200)",
    )(folder)


def forgetful_cut(folder: Path) -> None:
    sql(f"DELETE FROM {POINTS}")(folder)
    cut(folder)


def rewritten(folder: Path) -> None:
    """Another name in every row, and every hash made anew."""
    from django.db import transaction

    from breakglass.domain.audit import AuditTag
    from breakglass.models import AuditEvent
    from breakglass.services import audit

    rows = list(AuditEvent.objects.order_by("seq"))
    sql(f"DELETE FROM {TRAIL}", f"UPDATE {HEAD} SET seq = 0, hash = {_blob('00' * 32)}")(folder)
    with transaction.atomic():
        for row in rows:
            actor = None if row.actor.startswith("system") else "somebody.else"
            audit.append(AuditTag(row.tag), actor=actor, subject=row.subject, now=row.at, data=row.data)


def forgetful(folder: Path) -> None:
    sql(f"DELETE FROM {POINTS}")(folder)
    rewritten(folder)


def resigned(folder: Path) -> None:
    """Whoever has the machine may run a notary of their own."""
    from django.core.management import call_command

    from breakglass.domain.audit import AuditTag
    from breakglass.models import AuditEvent

    sql(f"DELETE FROM {POINTS}", f"DELETE FROM {TRAIL} WHERE tag = '{AuditTag.NOTARY_STARTED}'")(folder)
    assert not AuditEvent.objects.filter(tag=AuditTag.NOTARY_STARTED).exists()
    rewritten(folder)
    thief = folder / "thief"
    for file in (thief, thief.with_name("thief.signed")):
        file.unlink(missing_ok=True)
    call_command("make_notary_key", str(thief), "--name", "vandal.example/audit", stdout=io.StringIO())
    call_command("run_notary", "--key-file", str(thief), "--anchors", "", "--once", stdout=io.StringIO())


def _blob(digits: str) -> str:
    from django.db import connection

    return f"X'{digits}'" if connection.vendor == "sqlite" else f"'\\x{digits}'"


class Copies:
    """One whole trail, and a fresh copy of it for each edit."""

    def __init__(self, folder: Path) -> None:
        from django.db import connection

        self._kept = folder / "kept.sqlite3"
        self._name = str(connection.settings_dict["NAME"])

    def keep(self) -> None:
        self._copy(self._name, "kept")

    def fresh(self) -> None:
        self._copy("kept", "edited")
        from django.db import connection

        connection.close()
        connection.settings_dict["NAME"] = self._at("edited")

    def done(self) -> None:
        from django.db import connection

        connection.close()

    def _at(self, name: str) -> Any:
        from django.db import connection

        return self._kept.with_name(f"{name}.sqlite3") if connection.vendor == "sqlite" else name

    def _copy(self, source: str, target: str) -> None:
        from django.db import connection

        connection.close()
        if connection.vendor == "sqlite":
            import sqlite3

            path = self._at(target)
            for leftover in path.parent.glob(path.name + "*"):
                leftover.unlink()
            of = source if source == self._name else str(self._at(source))
            with sqlite3.connect(of) as old, sqlite3.connect(path) as new:
                old.backup(new)
            return
        connection.settings_dict["NAME"] = "postgres"
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {target} TEMPLATE {source}")
        connection.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
