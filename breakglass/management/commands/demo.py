"""demo: everything on this machine, until Ctrl-C. `make demo` sets up first and then does the same."""

from __future__ import annotations

import sys
from typing import Any

from breakglass.demo import supervisor
from breakglass.management.plain import PlainCommand


class Command(PlainCommand):
    help = (
        "Run the demo: web page, gateway, Celery, Valkey and pretended machines (DEMO_PORT, DEMO_DIR, ...)."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(supervisor.main())
