"""The web page, REST API and WebSockets as an ASGI application: `uvicorn breakglass.asgi:application`."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "breakglass.settings")

_django = get_asgi_application()

from django.conf import settings  # noqa: E402 - settings are read by now

from breakglass.web.address import ClientAddress  # noqa: E402
from breakglass.web.sockets import Sockets  # noqa: E402

application = ClientAddress(Sockets(_django), settings.BREAKGLASS.trusted_proxies)
