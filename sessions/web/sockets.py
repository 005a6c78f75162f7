"""The rooms behind the data plane's WebSockets; joined to the site by name in settings."""

from __future__ import annotations

from collections.abc import Mapping

from breakglass.web.sockets import Handler
from sessions.web.terminal_socket import serve

ROOMS: Mapping[str, Handler] = {"/terminal/socket/": serve}
