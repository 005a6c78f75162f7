"""What every command has in common: one person at one channel, words that are read strictly, an answer in text or JSON."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn
from uuid import UUID

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder

from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.domain.text import visible
from breakglass.models import Person
from sessions.gateway.local import LocalChannel

LENGTH = re.compile(r"(?:(\d{1,3})h)?(?:(\d{1,4})m?)?", re.ASCII)


class Wrong(Exception):
    """The words of a command don't fit; the message says how they should."""


class Words(argparse.ArgumentParser):
    """A command's words. Nothing is guessed from beginnings of options, and nothing exits."""

    def __init__(self, name: str, summary: str, example: str = "") -> None:
        epilog = f"For example: {example}" if example else None
        super().__init__(prog=name, description=summary, epilog=epilog, add_help=False, allow_abbrev=False)
        self.add_argument("--json", action="store_true", help="answer as JSON, for programs")

    def error(self, message: str) -> NoReturn:
        raise Wrong(f"{visible(message)}\n{self.format_usage()}")


@dataclass(frozen=True)
class Answer:
    """What a command answers: as text, and as values with stable keys. `status` is the exit status."""

    text: str
    data: dict[str, Any] = field(default_factory=dict)
    status: int = 0


class Talk:
    """One person at one console channel. `keep(seconds)` has the gateway hold the connection for so long more."""

    def __init__(
        self, channel: LocalChannel, person_id: UUID, keep: Callable[[float], None] = lambda _: None
    ) -> None:
        self.channel = channel
        self.keep = keep
        self.quiet = False
        self._person_id = person_id

    def person(self) -> Person:
        """The person as they are now: whoever was disabled meanwhile can do nothing here."""
        person = Person.objects.get(pk=self._person_id)
        if not person.is_active:
            raise refuse(RefusalCode.PERSON_INACTIVE, person=person.username)
        return person

    @property
    def can_ask(self) -> bool:
        """Whether there is somebody at a terminal who can be asked for what is missing."""
        return self.channel.pty and not self.quiet

    def say(self, text: str) -> None:
        """A line beside the answer, which stays alone on the standard output."""
        if not (self.quiet and self.channel.pty):  # a terminal has one stream only
            self.channel.write(f"{visible(text)}\n", error=True)

    def ask(self, question: str, *, hidden: bool = False) -> str:
        """One line of the person's. Raises EOFError at Ctrl-C, Ctrl-D and the end of input."""
        return self.channel.ask(question, hidden=hidden).strip()

    def pick(self, title: str, choices: list[str], usual: int = 1) -> int:
        """The place of one of the choices, by its number and Enter; Enter alone takes the usual one."""
        self.say(title)
        for number, choice in enumerate(choices, 1):
            self.say(f"  {number:2}  {choice}")
        while True:
            typed = self.ask(f"Number [{usual}]: ")
            number = int(typed) if typed.isascii() and typed.isdecimal() and len(typed) < 5 else 0
            number = number if typed else usual
            if 1 <= number <= len(choices):
                return number - 1
            self.say(f"Type a number from 1 to {len(choices)}.")


Act = Callable[[Talk, argparse.Namespace], Answer]


@dataclass(frozen=True)
class Command:
    words: Words
    act: Act

    @property
    def name(self) -> str:
        return self.words.prog

    @property
    def summary(self) -> str:
        return self.words.description or ""

    @property
    def usage(self) -> str:
        """How it is written, on one line."""
        return " ".join(self.words.format_usage().removeprefix("usage: ").split())


def as_json(data: dict[str, Any]) -> str:
    """One JSON document, on one line, in printable ASCII: a terminal may be what shows it."""
    return json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=True).replace("\x7f", "\\u007f") + "\n"


def minutes(text: str | None) -> int | None:
    """45, 45m, 1h, 1h30m. Raises Wrong."""
    if text is None:
        return None
    found = LENGTH.fullmatch(text.strip().lower())
    if not text.strip() or found is None:
        raise Wrong("--for takes a length of time, as in --for 45m or --for 1h30m\n")
    hours, rest = found.groups()
    return int(hours or 0) * 60 + int(rest or 0)


def number(label: str, prefix: str) -> int:
    """The number of a label, with or without its letters. What isn't one names nothing."""
    digits = label.strip().upper().removeprefix(prefix)
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 9 else -1


def ssh_command(person: str, words: str) -> str:
    """The command line that runs `words` here, ready to paste."""
    config = settings.BREAKGLASS
    return f"ssh -p {config.gateway_port} {person}@{config.gateway_host} {words}".rstrip()
