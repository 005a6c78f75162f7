"""What `ssh PERSON@GATEWAY [COMMAND]` offers: the same services as the page, in lines of text."""

from __future__ import annotations

from collections.abc import Callable

from sessions.gateway import commands, menu
from sessions.gateway.commands.talk import Talk
from sessions.gateway.local import LocalChannel
from sessions.gateway.names import Identity

INTERRUPTED = 130


def serve(
    channel: LocalChannel,
    identity: Identity,
    command: str | None,
    keep: Callable[[float], None] = lambda _: None,
) -> int:
    """One command, or a menu until the person leaves. `keep(seconds)` has the gateway hold the connection. Returns the
    exit status."""
    talk = Talk(channel, identity.person_id, keep)
    if command is None:
        return menu.serve(talk, identity.username)
    try:
        return commands.run(talk, command)
    except EOFError:
        return INTERRUPTED
