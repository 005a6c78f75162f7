"""The web page and REST API as an ASGI application: `uvicorn breakglass.asgi:application`."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "breakglass.settings")

application = get_asgi_application()
