"""`manage.py verify_audit`: is the audit trail, and what hangs on it, what it was?

Exit codes: 0 intact; 1 broken at the row that is named; 3 truncated; 4 forked: not what was signed, or what an anchor
kept; 5 a recording is missing or altered; 6 an anchor can't be reached; 7 a stored checkpoint was altered; 2 the command
can't be understood. Of several the gravest: 3, 1, 4, 7, 5, 6; all are said.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from breakglass.domain.checkpoint import Key, key_of, notes_in
from breakglass.management.plain import PlainCommand
from breakglass.services.anchors import anchors_of
from breakglass.services.audit_verdict import Code, Evidence, Report, examine

SHOWN = 20


class Command(PlainCommand):
    help = (
        "Check the audit trail from its first row to its head, against checkpoints, anchors and recordings."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--checkpoint",
            action="append",
            default=[],
            metavar="FILE",
            help="checkpoints that you kept elsewhere",
        )
        parser.add_argument(
            "--vkey",
            action="append",
            default=[],
            metavar="KEY",
            help="the notary's public key, or a file with it",
        )
        parser.add_argument("--no-anchors", action="store_true", help="don't ask BREAKGLASS_AUDIT_ANCHORS")
        parser.add_argument("--no-recordings", action="store_true", help="don't read the recordings")
        parser.add_argument("--processes", type=int, default=0, help="0: one a core")

    def handle(self, *args: Any, **options: Any) -> None:
        addresses = "" if options["no_anchors"] else settings.BREAKGLASS.audit_anchors
        evidence = Evidence(
            keys=[_key(word) for word in options["vkey"]],
            notes=[note for file in options["checkpoint"] for note in _notes(file)],
            anchors=anchors_of(addresses),
        )
        report = examine(
            evidence,
            recordings=not options["no_recordings"],
            processes=options["processes"] or os.cpu_count() or 1,
        )
        self._tell(report)
        if report.code:
            sys.exit(int(report.code))

    def _tell(self, report: Report) -> None:
        chain = report.chain
        if chain.ok:
            word = "OK" if report.code == Code.INTACT else "the chain holds in itself"
            self.stdout.write(f"{word}: {chain.rows} rows, head {chain.head}")
        if report.signed:
            outside = f", {report.anchored} of them outside" if report.anchored else ""
            self.stdout.write(f"signed: the first {report.signed} rows{outside}")
        if report.recordings is not None:
            self.stdout.write(f"recordings: {report.recordings} looked at")
        for code, text in report.gravest_first()[:SHOWN]:
            self.stderr.write(f"{_LABELS[code]}: {text}")
        if len(report.findings) > SHOWN:
            self.stderr.write(f"and {len(report.findings) - SHOWN} findings more")
        for text in report.warnings:
            self.stdout.write(f"warning: {text}")
        for text in report.unknown:
            self.stdout.write(f"can't be known: {text}")


_LABELS = {code: code.name for code in Code}


def _key(word: str) -> Key:
    try:
        path = Path(word)
        return key_of(path.read_text() if "+" not in word and path.is_file() else word)
    except (OSError, ValueError) as error:
        raise CommandError(f"--vkey: {error}", returncode=2) from None


def _notes(file: str) -> list[tuple[str, str]]:
    try:
        found = notes_in(Path(file).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--checkpoint {file}: {error}", returncode=2) from None
    if not found:
        raise CommandError(f"--checkpoint {file}: there is no checkpoint in it", returncode=2)
    return [(f"the checkpoint in {file}", note) for note in found]
