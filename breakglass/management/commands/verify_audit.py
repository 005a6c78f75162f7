"""`manage.py verify_audit`: exits 0 when the whole audit chain holds, or names the first broken row and exits 1."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from breakglass.services import audit


class Command(BaseCommand):
    help = "Check the audit trail from its first row to its head."

    def handle(self, *args: Any, **options: Any) -> None:
        result = audit.verify()
        if not result.ok:
            self.stderr.write(f"BROKEN: {result.problem}")
            sys.exit(1)
        self.stdout.write(f"OK: {result.rows} rows, head {result.head}")
