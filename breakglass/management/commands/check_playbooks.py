"""check_playbooks: is the catalogue fit to load? Reads files only, no database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from breakglass.management.plain import PlainCommand
from breakglass.services.playbooks import unknown_ways
from playbooks.digest import canonical_bytes
from playbooks.loader import CATALOG, CatalogErrors, LoadedPlaybook, load_catalog


class Command(PlainCommand):
    help = "Check playbooks; prints each problem as file:line: field: message and exits 1 if there is one."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path", nargs="?", type=Path, default=CATALOG, help="a folder of playbooks, or one file"
        )
        parser.add_argument(
            "--canonical", metavar="SLUG", help="print the canonical JSON whose SHA-256 is the digest"
        )

    def handle(self, *args: Any, path: Path, canonical: str | None, **options: Any) -> None:
        try:
            loaded = load_catalog(path)
        except CatalogErrors as errors:
            for problem in errors.problems:
                self.stdout.write(str(problem))
            raise CommandError(
                f"{len(errors.problems)} problems; nothing can be loaded.", returncode=1
            ) from None
        if canonical is None:
            self._refuse_unknown_ways(loaded)
            self._list(loaded)
        else:
            self._print_canonical(loaded, canonical)

    def _refuse_unknown_ways(self, loaded: list[LoadedPlaybook]) -> None:
        real = [playbook.spec for playbook in loaded if not playbook.spec.template]
        faults = [f"{spec.slug}: notify: {fault}" for spec in real for fault in unknown_ways(spec)]
        for fault in faults:
            self.stdout.write(fault)
        if faults:
            raise CommandError(f"{len(faults)} problems; nothing can be loaded.", returncode=1)

    def _list(self, loaded: list[LoadedPlaybook]) -> None:
        for playbook in loaded:
            kind = "template" if playbook.spec.template else "playbook"
            self.stdout.write(f"{playbook.digest}  {kind}  {playbook.spec.slug}")
        self.stdout.write(f"{len(loaded)} playbooks are fit to load.")

    def _print_canonical(self, loaded: list[LoadedPlaybook], slug: str) -> None:
        for playbook in loaded:
            if playbook.spec.slug == slug:
                self.stdout.write(canonical_bytes(playbook.spec).decode(), ending="")
                return
        raise CommandError(f"There is no playbook {slug}; check_playbooks without --canonical lists them.")
