"""`manage.py replay_journal`: tries the entries of gateways' journals again that couldn't be written and were put aside.

For after an upgrade, or a migration, that knows better; gateways may run. Exit codes: 0 nothing is left aside, 1 something
is, and why, 3 the database can't be reached, or another replay runs.
"""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandError

from breakglass.domain.refusals import Refused
from breakglass.management.plain import PlainCommand
from sessions.gateway.rejected import ReplayRuns, Tried, retry_all


class Command(PlainCommand):
    help = "Write down what this machine's gateways had to put aside (journal/*.rejected), each entry once."

    def handle(self, *args: Any, **options: Any) -> None:
        self._written = self._left = 0
        try:
            retry_all(self._tell)
        except (Refused, ReplayRuns) as error:
            raise CommandError(str(error), returncode=3) from error
        self.stdout.write(f"{self._written} written, {self._left} left aside")
        if self._left:
            sys.exit(1)

    def _tell(self, tried: Tried) -> None:
        what = f"entry {tried.seq} ({tried.kind or 'unreadable'}) of {tried.journal}"
        if tried.problem:
            self._left += 1
            self.stderr.write(f"LEFT     {what}: {tried.problem}")
        else:
            self._written += 1
            self.stdout.write(f"WRITTEN  {what}")
