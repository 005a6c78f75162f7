"""`manage.py export_audit FOLDER`: the whole audit trail, its newest checkpoint and the program that checks both.

`trail.jsonl` has a row a line: seq, previous, hash, body. A bundle's audit/rows.jsonl has the same, and proofs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from breakglass.management.plain import PlainCommand
from breakglass.models import AuditEvent
from breakglass.services import audit_proofs
from sessions.evidence.bundle import VERIFIER, row_line
from sessions.evidence.trail import row_of

PAGE = 2000


class Command(PlainCommand):
    help = "Write the audit trail for somebody who checks it without this program."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="a new or an empty folder")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise CommandError(f"{folder} isn't empty", returncode=2)
            checkpoint = audit_proofs.newest_checkpoint()
            with os.fdopen(os.open(folder / "trail.jsonl", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as sink:
                count = sum(bool(sink.write(row_line(row_of(row)))) for row in _rows())
            if checkpoint is not None:
                (folder / "checkpoint.txt").write_text(checkpoint.note)
            key = audit_proofs.notary_key()
            if key:
                (folder / "notary.key").write_text(f"{key}\n")
            (folder / "verify.py").write_bytes(VERIFIER.read_bytes())
        except OSError as error:
            raise CommandError(f"it can't be written: {error}") from None
        signed = f"the first {checkpoint.size} of them signed" if checkpoint else "no checkpoint yet"
        self.stdout.write(f"{count} rows, {signed}; check them: python3 -I {folder / 'verify.py'}")


def _rows() -> Iterator[AuditEvent]:
    """Page by page: a long read that holds no transaction open."""
    last = 0
    while page := list(AuditEvent.objects.filter(seq__gt=last).order_by("seq")[:PAGE]):
        yield from page
        last = page[-1].seq
