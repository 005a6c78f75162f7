"""`manage.py verify_recording`: exits 0 when each recording asked for is what was sealed, or names the damaged part.

Exit codes: 0 all intact (open ones, and those deleted by policy, are listed), 1 something is damaged, 2 something asked
for isn't there, 3 nothing is damaged, but where something is stored, or its key, can't be reached.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from breakglass.management.plain import PlainCommand
from sessions.services.recording_check import Checked, Verdict, check, check_all, check_file, find


class Command(PlainCommand):
    help = "Check recordings, byte for byte, against their seals, the database and the audit trail."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "recordings", nargs="*", metavar="SESSION|PATH", help="a session's id or label (S-12), or a file"
        )
        parser.add_argument("--all", action="store_true", help="every recording, and every stray file")

    def handle(self, *args: Any, **options: Any) -> None:
        words: list[str] = options["recordings"]
        if bool(words) == options["all"]:
            raise CommandError("name recordings, or give --all", returncode=2)
        counts = self._report(check_all() if options["all"] else self._named(words))
        if options["all"]:
            self.stdout.write(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
        if counts[Verdict.DAMAGED]:
            sys.exit(1)
        if counts.get(Verdict.UNKNOWN):
            sys.exit(3)

    def _report(self, found: Iterable[Checked]) -> dict[Verdict, int]:
        counts = dict.fromkeys((Verdict.INTACT, Verdict.OPEN, Verdict.DAMAGED), 0)
        for one in found:
            counts[one.verdict] = counts.get(one.verdict, 0) + 1
            out = self.stderr if one.verdict in (Verdict.DAMAGED, Verdict.UNKNOWN) else self.stdout
            out.write(f"{one.verdict.upper():8} {one.name}: {one.what}")
        return counts

    def _named(self, words: list[str]) -> Iterator[Checked]:
        for word in words:
            recording = find(word)
            if recording is not None:
                yield check(recording)
            elif Path(word).is_file():
                yield check_file(Path(word))
            else:
                raise CommandError(f"{word}: no such session and no such file", returncode=2)
