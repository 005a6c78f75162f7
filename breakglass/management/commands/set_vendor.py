"""`manage.py set_vendor USERNAME COMPANY`: which company sends a person. An empty COMPANY: they are our own."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from breakglass import clock, queries
from breakglass.domain.refusals import Refused
from breakglass.management.plain import PlainCommand
from breakglass.services import people


class Command(PlainCommand):
    help = "Say which company sends a person; with an empty COMPANY they are our own."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("company")

    def handle(self, *args: Any, **options: Any) -> None:
        person = queries.person_by_name(options["username"])
        if person is None:
            raise CommandError(f"there is nobody called {options['username']}")
        try:
            people.set_vendor(person, options["company"], by=None, now=clock.now())
        except Refused as refused:
            raise CommandError(str(refused)) from None
        whose = f"comes from {person.vendor}" if person.vendor else "is one of our own people"
        self.stdout.write(f"{person.username} {whose}.")
