"""`manage.py add_person`: how the first people get in. An enrolment code lets each enrol a second factor at the first login."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.management.plain import PlainCommand
from breakglass.services import people


class Command(PlainCommand):
    help = "Add a person; the password is asked for, or read from standard input when that is not a terminal."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", required=True, help="full name")
        parser.add_argument("--email", default="", help="where notices go")
        parser.add_argument(
            "--group",
            action="append",
            default=[],
            help="responders, reviewers, auditors, administrators, supervisors, or an approver group; repeat it",
        )
        parser.add_argument(
            "--vendor", default="", metavar="COMPANY", help="who sends them; without it they are our own"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        try:
            validate_password(password)
            person = people.create(
                username=options["username"],
                full_name=options["name"],
                email=options["email"],
                password=password,
                groups=options["group"],
                vendor=options["vendor"],
                by=None,
                now=clock.now(),
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        except Refused as refused:
            raise CommandError(str(refused)) from None
        self.stdout.write(
            f"{person.username} was added. Their first login asks for an enrolment code: an administrator"
        )
        self.stdout.write(
            "issues it on the page People; for the first administrator: manage.py enrolment_code."
        )
