"""load_playbooks: publish the catalogue as immutable versions. Safe to repeat: an unchanged playbook stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.management.plain import PlainCommand
from breakglass.services import playbooks
from playbooks.loader import CATALOG, CatalogErrors, load_catalog


class Command(PlainCommand):
    help = "Publish playbooks: all of them, or none if one is faulty. A new version is made only of a changed one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path", nargs="?", type=Path, default=CATALOG, help="a folder of playbooks, or one file"
        )
        parser.add_argument(
            "--retire", action="store_true", help="retire current playbooks that aren't in PATH"
        )

    def handle(self, *args: Any, path: Path, retire: bool, **options: Any) -> None:
        try:
            specs = [loaded.spec for loaded in load_catalog(path)]
            done = playbooks.publish(specs, clock.now(), retire_missing=retire)
        except CatalogErrors as errors:
            raise CommandError(f"{errors}\nNothing was published.", returncode=1) from None
        except Refused as refused:
            raise CommandError(refused.refusal.message, returncode=1) from None
        for version in done.new:
            self.stdout.write(f"published {version} {version.digest}")
        for version in done.retired:
            self.stdout.write(f"retired {version}")
        self.stdout.write(
            f"{len(done.new)} published, {len(done.unchanged)} unchanged, {len(done.retired)} retired, "
            f"{len(done.templates)} templates left aside."
        )
