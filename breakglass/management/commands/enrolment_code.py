"""`manage.py enrolment_code PERSON`: how the first administrator enrols a second factor.

Later codes come from administrators, on the page People. When the one administrator there is lost every factor, this
command takes the old ones away and gives a new code; while another administrator can act it refuses.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from breakglass import clock
from breakglass.domain.refusals import Refused
from breakglass.management.plain import PlainCommand
from breakglass.models import Person
from breakglass.services import recovery


class Command(PlainCommand):
    help = (
        "Print a one-time code with which a person enrols a first second factor; for the first administrator."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        person = Person.objects.filter(username=options["username"], is_active=True).first()
        if person is None:
            raise CommandError(f"There is no active person {options['username']}.")
        try:
            issued = recovery.issue_by_operator(person, clock.now())
        except Refused as refused:
            raise CommandError(str(refused)) from None
        until = issued.row.expires_at.strftime("%Y-%m-%d %H:%M UTC")
        self.stdout.write(f"Enrolment code for {person.username}, once, until {until}: {issued.code}")
