"""`manage.py rotate_recording_key`: every recording and kept copy opens under the key in use from then on.

Exit codes: 0 done, and no other key is needed; 1 some other key is needed still; 2 the key can't be had.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from django.core.management.base import CommandError, CommandParser

from breakglass import clock
from breakglass.management.plain import PlainCommand
from sessions.recording.keyring import KeyUnavailable
from sessions.services import recording_keys, rotation
from sessions.services.rotation import Wrapped

EACH = 200


class Command(PlainCommand):
    help = "Wrap the keys of all recordings anew, under the key in use. No recording is written anew."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="change nothing; say which keys are needed, and which are not",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            keys = recording_keys.keyring()
            if not options["check"]:
                self._rotate()
            needed = self._needed()
        except KeyUnavailable as error:
            raise CommandError(f"The key of recordings can't be had: {error}", returncode=2) from None
        self.stdout.write(f"key {keys.name} is in use: {needed.pop(keys.name, 0)} files")
        for name in keys.older:
            count = needed.pop(name, 0)
            self.stdout.write(f"key {name}: " + (f"needed for {count} files" if count else "needed no more"))
            if count:
                needed[name] = count
        if needed:
            sys.exit(1)

    def _rotate(self) -> None:
        seen = 0

        def tell(one: Wrapped) -> None:
            nonlocal seen
            seen += 1
            if one.problem:
                self.stderr.write(f"{one.session} {one.name}: {one.problem}")
            if seen % EACH == 0:
                self.stdout.write(f"{seen} files")
                self.stdout.flush()

        tally = rotation.rotate(clock.now(), tell)
        self.stdout.write(
            f"{tally.rewrapped} wrapped anew, {tally.already} were already, {len(tally.failed)} failed"
        )

    def _needed(self) -> Counter[str]:
        needed: Counter[str] = Counter()
        for one in rotation.look():
            needed[one.key] += 1
            if one.problem:
                self.stderr.write(f"{one.session} {one.name}: {one.problem}")
        return needed
