"""`manage.py audit_role ROLE`: what a PostgreSQL role may do to the audit trail: printed, applied, or checked.

Exit codes: 0 done, or --check found nothing; 1 the role could change the trail; 2 the command can't be understood.
"""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connection

from breakglass.management.plain import PlainCommand
from breakglass.services.audit_role import Part, apply, shortcomings, statements


class Command(PlainCommand):
    help = "Print the SQL that lets a role write the audit trail but never change it; run it as the tables' owner."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role")
        parser.add_argument("--for", dest="part", choices=[str(part) for part in Part], default="application")
        parser.add_argument("--apply", action="store_true", help="do it, as the owner of the tables")
        parser.add_argument(
            "--check", action="store_true", help="say whether the role could change the trail"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if connection.vendor != "postgresql":
            raise CommandError(
                "SQLite has no roles: whoever can write its file can change it. Anchors are for that.",
                returncode=2,
            )
        role, part = options["role"], Part(options["part"])
        if options["check"]:
            found = shortcomings(role)
            for problem in found:
                self.stderr.write(f"{role}: {problem}")
            if found:
                sys.exit(1)
            self.stdout.write(f"{role} can add to the audit trail, and change nothing in it")
        elif options["apply"]:
            try:
                apply(role, part)
            except DatabaseError as error:
                raise CommandError(f"{role}: {error}") from None
            self.stdout.write(f"{role} may write the audit trail and change nothing in it")
        else:
            self.stdout.write(";\n".join(statements(role, part)) + ";")
