"""What `ssh PERSON@GATEWAY [COMMAND]` offers: the same services as the page, in lines of text."""

from __future__ import annotations

import shlex

from breakglass.domain.refusals import Refused
from sessions.gateway.authn import Identity
from sessions.gateway.commands import COMMANDS, Talk, Wrong
from sessions.gateway.local import LocalChannel
from sessions.gateway.relay import printable


def serve(channel: LocalChannel, identity: Identity, command: str | None) -> int:
    """One command, or a menu until the person leaves. Returns the exit status."""
    talk = Talk(channel, identity.person_id)
    if command is not None:
        return _run(talk, command)
    channel.write(f"Breakglass. You are {identity.username}; no machine is reached from here.\n\n")
    _run(talk, "status")
    channel.write("\n")
    _run(talk, "help")
    while True:
        line = channel.ask("\nbreakglass> ").strip()
        if line in {"exit", "quit", "logout"}:
            return 0
        if line:
            _run(talk, line)


def _run(talk: Talk, line: str) -> int:
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    act = COMMANDS.get(words[0] if words else "")
    if act is None:
        talk.channel.write(f"There is no command {printable(line)[:60]}. Try help.\n", error=True)
        return 2
    try:
        text = act(talk, words[1:])
    except Wrong as wrong:
        talk.channel.write(f"{wrong}\n", error=True)
        return 2
    except Refused as refused:
        talk.channel.write(f"Breakglass: {refused.refusal}\n", error=True)
        return 1
    talk.channel.write(text)
    return 0
