"""`manage.py evidence GRANT`: the signed evidence bundle of one grant, as one zip.

Exit codes: 0 written, 1 it couldn't be made or written, 2 there is no such grant.
"""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.management.plain import PlainCommand
from sessions.services import evidence


class Command(PlainCommand):
    help = "Write the evidence of one grant: a signed zip that anybody can check with the verify.py in it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "grant", nargs="?", metavar="GRANT", help="a grant's id, or its request's label (REQ-12)"
        )
        parser.add_argument(
            "--out", type=Path, metavar="FILE", help="default: evidence-REQ-12-TIME.zip, here"
        )
        parser.add_argument(
            "--with-files", action="store_true", help="with the kept copies of files, where there are any"
        )
        parser.add_argument(
            "--key", action="store_true", help="print the public key that bundles are signed with, and end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["grant"]) == options["key"]:
            raise CommandError("name a grant, or ask for the --key", returncode=2)
        if options["key"]:
            self.stdout.write(evidence.public_key())
            self.stderr.write(evidence.fingerprint())
            return
        grant = evidence.find_grant(options["grant"])
        if grant is None:
            raise CommandError(f"{options['grant']}: no such grant", returncode=2)
        try:
            made = evidence.export_on_the_server(
                grant, _operator(), clock.now(), with_files=options["with_files"]
            )
            path = _write(made, options["out"] or Path(made.name))
        except Refused as refused:
            raise CommandError(str(refused)) from None
        except OSError as error:
            raise CommandError(f"it can't be written: {error}") from None
        for alarm in made.alarms:
            self.stderr.write(f"ATTENTION: {alarm}")
        self.stdout.write(f"{path}: {made.size} bytes, SHA-256 {made.sha256}")
        self.stdout.write(f"signed by {evidence.fingerprint()}; check it: python3 -I verify.py {path}")


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _write(made: evidence.Bundle, path: Path) -> Path:
    """Whole or not at all, and for nobody else to read: it holds what was on people's screens."""
    draft = path.with_name(path.name + ".part")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
            for piece in made.pieces():
                sink.write(piece)
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    return path
