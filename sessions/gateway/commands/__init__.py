"""The console's commands: each calls one service, as the page does. Nothing here holds a database while somebody types."""

from __future__ import annotations

import argparse
import shlex

from django.conf import settings

from breakglass.domain.refusals import RefusalCode, Refused, refusal
from breakglass.domain.text import visible
from sessions.gateway.commands import asking, beside, deciding, ending, looking
from sessions.gateway.commands.talk import Answer, Command, Talk, Words, Wrong, as_json
from sessions.gateway.relay import printable

REFUSED, MISSPELT = 1, 2


def help_(talk: Talk, said: argparse.Namespace) -> Answer:
    about = COMMANDS.get(said.about or "")
    if said.about and about is None:
        raise Wrong(f"There is no command {printable(said.about)[:60]}. Try help.\n")
    shown = [about] if about else list(COMMANDS.values())
    data = {
        "url": f"{settings.BREAKGLASS.public_url}/",
        "commands": [
            {"name": command.name, "usage": command.usage, "summary": command.summary} for command in shown
        ],
    }
    if about is not None:
        return Answer(about.words.format_help(), data)
    lines = ["Commands:", *(f"  {command.name:12} {command.summary}" for command in shown), ""]
    lines += [
        "`help COMMAND` says more; each takes --json.",
        f"The page, with everything else: {data['url']}",
    ]
    return Answer("\n".join(lines) + "\n", data)


def _help_words() -> Words:
    words = Words("help", "what there is, or how one command is written", "help request")
    words.add_argument("about", nargs="?", metavar="COMMAND")
    return words


_ALL = (
    looking.STATUS, looking.PLAYBOOKS, asking.REQUEST, asking.WITHDRAW, deciding.APPROVE, deciding.DENY, asking.EXTEND,
    ending.END, looking.SESSIONS, beside.SAY, beside.REVIEWS, ending.FREEZE, ending.UNFREEZE, ending.KILL, looking.KNOWN_HOSTS, Command(_help_words(), help_),
)  # fmt: skip
COMMANDS: dict[str, Command] = {command.name: command for command in _ALL}


def run(talk: Talk, line: str) -> int:
    """Run one command line and show its answer. Returns the exit status: 0, 1 for a refusal, 2 for a misspelt line."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    talk.quiet = "--json" in words
    try:
        answer = _answer(talk, words, line)
    except Wrong as wrong:
        problem = refusal(RefusalCode.BAD_INPUT, problem=str(wrong).strip())
        return _refuse(talk, problem.as_dict(), str(wrong), MISSPELT)
    except Refused as refused:
        no = refused.refusal
        return _refuse(talk, no.as_dict(), f"Breakglass: {no}\n", REFUSED)
    talk.channel.write(as_json(answer.data) if talk.quiet else visible(answer.text))
    return answer.status


def _answer(talk: Talk, words: list[str], line: str) -> Answer:
    command = COMMANDS.get(words[0] if words else "")
    if command is None:
        raise Wrong(f"There is no command {printable(line)[:60]}. Try help.\n")
    if "--help" in words or "-h" in words:
        return help_(talk, argparse.Namespace(about=command.name))
    said = command.words.parse_args(words[1:])
    said.command = command.name
    return command.act(talk, said)


def _refuse(talk: Talk, data: dict[str, object], text: str, status: int) -> int:
    if talk.quiet:
        talk.channel.write(as_json(data))
    else:
        talk.channel.write(text, error=True)
    return status
