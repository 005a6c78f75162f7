"""`python -m tests.bench.trail [--json FILE]`: how fast the audit trail grows on the embedded database, and is verified.

Writers are processes, each row a transaction of its own, in WAL with `synchronous=FULL` as in use. What is verified is every
row's hash, place and columns, and the Merkle root; the rows are those of real work, some 340 bytes each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import installation

WRITERS, SECONDS, ROWS = 8, 10.0, 1_000_000
WANTED = {"appended": 1_000, "verified": 500_000}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trail", description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the raw numbers here")
    parser.add_argument("--rows", type=int, default=ROWS, help="how many are verified")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long is written")
    parser.add_argument("--write", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        print(write(options.write))
        return
    with tempfile.TemporaryDirectory(prefix="breakglass-bench-") as folder:
        os.environ.update(installation.settings_in(Path(folder)))
        os.environ["DJANGO_SETTINGS_MODULE"] = "breakglass.settings"
        found = measure(options.seconds, options.rows)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found))


def measure(seconds: float, rows: int) -> dict[str, Any]:
    """Rows a second: written by many and by one, verified by one process a core and by one."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    found: dict[str, Any] = {"cores": os.cpu_count(), "rows": rows}
    found["appended"] = appended(WRITERS, seconds)
    found["appended by one"] = appended(1, seconds / 2)
    fill(rows)
    found["verified"] = max(verified(os.cpu_count() or 1) for _ in range(3))
    found["verified by one"] = verified(1)
    return found


def appended(writers: int, seconds: float) -> float:
    """All begin at once, when the last of them is ready."""
    words = [sys.executable, "-m", "tests.bench.trail", "--write", str(seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running: list[Any] = [subprocess.Popen(words, **pipes) for _ in range(writers)]  # type: ignore[call-overload]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(int(process.communicate()[0]) for process in running) / seconds


def write(seconds: float) -> int:
    """As many rows as go, each committed by itself, from the word on."""
    import django

    django.setup()
    from django.db import connection, transaction

    from breakglass import clock
    from breakglass.domain.audit import AuditTag
    from breakglass.services import audit

    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        with transaction.atomic():
            audit.append(
                AuditTag.ACCESS_REFUSED, actor="rita", subject="asset:7", now=clock.now(), data=data(count)
            )
        count += 1
    return count


def data(number: int) -> dict[str, object]:
    return {
        "refusal": "no_grant",
        "message": "There is no live grant for this asset; ask for access.",
        "address": "10.20.30.40",
        "number": number,
    }


def fill(rows: int) -> None:
    """More rows, in one go: what is measured next is reading."""
    from django.db import connection, transaction

    from breakglass.models import AuditHead
    from breakglass.models.audit_event import TABLE
    from breakglass.models.audit_triggers import PROTECT, UNPROTECT

    head = AuditHead.objects.get()
    columns = "seq, at, tag, actor, actor_name, subject, body, previous_hash, hash"
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in UNPROTECT["sqlite"]:
            cursor.execute(statement)
        insert = f"INSERT INTO {TABLE} ({columns}) VALUES ({', '.join(['%s'] * 9)})"
        cursor.executemany(insert, made(head.seq, head.hash, rows))
        cursor.execute(f"SELECT seq, hash FROM {TABLE} ORDER BY seq DESC LIMIT 1")
        seq, digest = cursor.fetchone()
        AuditHead.objects.update(seq=seq, hash=bytes(digest).hex())
        for statement in PROTECT["sqlite"]:
            cursor.execute(statement)
    with connection.cursor() as cursor:
        cursor.execute(
            "PRAGMA wal_checkpoint(TRUNCATE)"
        )  # as it is in use, where each thousand pages are one


def made(seq: int, head: str, rows: int) -> Iterator[tuple[Any, ...]]:
    from breakglass import clock
    from breakglass.domain.audit import AuditTag, Entry, canonical, link

    now = clock.now().replace(microsecond=123456)
    at = f"{now:%Y-%m-%d %H:%M:%S.%f}"
    for number in range(seq + 1, rows + 1):
        entry = Entry(number, now, str(AuditTag.ACCESS_REFUSED), "stranger:rita", "asset:7", data(number))
        body = canonical(entry)
        previous, head = head, link(head, body)
        links = bytes.fromhex(previous), bytes.fromhex(head)
        yield number, at, entry.tag, entry.actor, "", entry.subject, body, *links


def verified(processes: int) -> float:
    from breakglass.models import AuditHead
    from breakglass.services import audit_check

    size = AuditHead.objects.get().seq
    begun = time.monotonic()
    found = audit_check.verify({size}, processes)
    took = time.monotonic() - begun
    assert found.ok, found
    assert found.roots[size]
    return size / took


def table(found: dict[str, Any]) -> str:
    lines = [
        f"The audit trail on SQLite, {found['cores']} cores, {found['rows']:,} rows verified:",
        "",
        "| | rows/s | wanted | reached |",
        "|---|---|---|---|",
    ]
    for name, title in {
        "appended": f"appended by {WRITERS} processes, a transaction each",
        "appended by one": "appended by one process",
        "verified": "verified by one process a core",
        "verified by one": "verified by one process",
    }.items():
        wanted = WANTED.get(name)
        reached = "" if wanted is None else "yes" if found[name] >= wanted else "**no**"
        lines.append(f"| {title} | {found[name]:,.0f} | {f'>= {wanted:,}' if wanted else ''} | {reached} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
