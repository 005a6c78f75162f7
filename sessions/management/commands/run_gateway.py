"""`manage.py run_gateway`: the SSH gateway, a process of its own, or several on one port."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from breakglass.management.plain import PlainCommand
from sessions.gateway import crew
from sessions.gateway.limits import Limits


class Command(PlainCommand):
    help = "Run the SSH gateway until SIGTERM or Ctrl-C; live sessions are then ended and told why."
    # Nearly half of a start was Django's checks, for which every page is loaded: sessions of a crash wait for this start.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bind", default=settings.BREAKGLASS.gateway_bind, help="address to listen on")
        parser.add_argument(
            "--port", type=int, default=settings.BREAKGLASS.gateway_port, help="port; 0: any free one"
        )
        parser.add_argument(
            "--processes", type=int, default=settings.BREAKGLASS.gateway_processes,
            help="processes on the one port; 0: one a core",
        )  # fmt: skip
        defaults = Limits()
        parser.add_argument(
            "--rate", type=float, default=defaults.rate_per_address, help="connections/s an address"
        )
        parser.add_argument(
            "--burst", type=float, default=defaults.burst_per_address, help="connections at once"
        )
        parser.add_argument("--grace", type=float, default=defaults.grace, help="seconds to prove a key")

    def handle(self, *args: Any, **options: Any) -> None:
        limits = Limits(
            grace=options["grace"], rate_per_address=options["rate"], burst_per_address=options["burst"],
            strangers_per_address=max(Limits.strangers_per_address, int(options["burst"])),
            exempt=settings.BREAKGLASS.exempt_networks,
        )  # fmt: skip
        processes = options["processes"] or crew.one_a_core()
        try:
            if processes == 1:
                crew.run_alone(options["bind"], options["port"], limits, self._say_ready)
                return
            code = crew.Crew(options["bind"], options["port"], limits, processes).run(self._say_ready)
        except OSError as error:
            where = f"{options['bind']}:{options['port']}"
            raise CommandError(
                f"The gateway can't listen on {where}: {error.strerror}. Set BREAKGLASS_GATEWAY_PORT to a free port."
            ) from error
        if code:
            raise CommandError("A process of the gateway ended at its start; its last words are above.")

    def _say_ready(self, port: int) -> None:
        self.stdout.write(f"gateway ready on port {port}")
        self.stdout.flush()
