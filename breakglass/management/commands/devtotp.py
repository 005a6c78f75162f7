"""devtotp: the code that a demo person's authenticator app shows now."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from breakglass import clock
from breakglass.management.plain import PlainCommand
from breakglass.models import Person, TotpFactor
from breakglass.services import second_factor


class Command(PlainCommand):
    help = "Print the second-factor code of a person of the demo. Works in the demo only."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("person", help="the user name, such as rita")

    def handle(self, *args: Any, person: str, **options: Any) -> None:
        if not settings.BREAKGLASS.demo:
            raise CommandError("devtotp works in the demo only: BREAKGLASS_DEMO is not set.")
        try:
            found = Person.objects.get(username=person)
            code = second_factor.current_code(found, clock.now())
        except (Person.DoesNotExist, TotpFactor.DoesNotExist):
            names = ", ".join(
                Person.objects.filter(totpfactor__confirmed=True).values_list("username", flat=True)
            )
            raise CommandError(f"{person} has no authenticator app here. There are: {names}") from None
        self.stdout.write(code)
