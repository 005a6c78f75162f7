"""The menu of `ssh PERSON@GATEWAY`: what is mine and what waits for me, each behind a number and Enter.

It runs the console's own commands, so that what can be picked here can be typed there too.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from breakglass import clock, queries, shapes
from breakglass.domain.refusals import RefusalCode, Refused
from breakglass.models import AccessRequest, Grant, PlaybookVersion
from breakglass.services import extensions
from breakglass.unusual import unusual_facts
from sessions.gateway import commands
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.commands.asking import answer_to
from sessions.gateway.commands.looking import grant_line, mine, plea_line, span
from sessions.gateway.commands.talk import Talk, Wrong
from sessions.gateway.relay import printable

LEAVE = frozenset({"q", "exit", "quit", "logout"})
LOOK = frozenset({"", "r"})


@dataclass(frozen=True)
class Item:
    """A line that can be picked, under its heading; `pick` does what picking it means."""

    heading: str
    line: str
    pick: Callable[[Talk], None]


def serve(talk: Talk, username: str) -> int:
    """Until the person leaves. Returns the exit status."""
    talk.say(f"Breakglass. You are {username}; no machine is reached from here.")
    items: list[Item] = []
    typed = ""
    while typed not in LEAVE:
        try:
            if typed in LOOK:
                items = _show(talk)
            elif typed.isascii() and typed.isdecimal():
                items = _pick(talk, items, typed)
            else:
                commands.run(talk, typed)
        except EOFError:
            talk.channel.check()  # Ctrl-C leads back here; who is gone is gone
        try:
            typed = talk.ask("\nbreakglass> ")
        except EOFError:
            return 0
    return 0


def _show(talk: Talk) -> list[Item]:
    try:
        with borrowed_db():
            items = _items(talk)
    except Refused as refused:
        talk.say(f"Breakglass: {refused.refusal}")
        return []
    heading = ""
    for number, item in enumerate(items, 1):
        if item.heading != heading:
            heading = item.heading
            talk.say(f"\n{heading}")
        talk.say(f"  {number:2}  {item.line}")
    if not items:
        talk.say("\nNothing waits, and there is no playbook that you may request.")
    talk.say("\nType a number, a command (`help`), Enter to look again, or q to leave.")
    return items


def _pick(talk: Talk, items: list[Item], typed: str) -> list[Item]:
    place = int(typed[:4]) - 1
    if not 0 <= place < len(items):
        talk.say("There is no such number.")
        return items
    try:
        items[place].pick(talk)
    except (Refused, Wrong) as no:
        talk.say(f"Breakglass: {no.refusal}" if isinstance(no, Refused) else str(no).strip())
        if isinstance(no, Refused) and no.refusal.code is RefusalCode.PERSON_INACTIVE:
            return []
    return _show(talk)


def _items(talk: Talk) -> list[Item]:
    now = clock.now()
    person = talk.person()
    held, asked, waiting = mine(person, now)
    found = [
        Item("Waits for your approval", f"{row.label} {plea_line(row)}", _deciding(row)) for row in waiting
    ]
    found += [Item("You are in", grant_line(grant, now), _holding(grant)) for grant in held]
    found += [
        Item(
            "You asked",
            f"{row.label} {row.title}: lapses in {span(row.lapses_at, now)}",
            _asked(row),
        )
        for row in asked
    ]
    for version in queries.playbooks_for(person):
        names = ", ".join(queries.spec_of(version).assets)
        found.append(Item("Ask for access", f"{version.title}: {names}", _playbook(version)))
    return found


def _choose(talk: Talk, choices: dict[str, str]) -> str:
    """One of the letters; Enter leads back."""
    shown = ", ".join(f"{letter} {says}" for letter, says in choices.items())
    while True:
        typed = talk.ask(f"{shown}; Enter goes back: ").lower()[:1]
        if not typed or typed in choices:
            return typed


def _deciding(row: AccessRequest) -> Callable[[Talk], None]:
    def pick(talk: Talk) -> None:
        with borrowed_db():
            unusual = unusual_facts(row)
        talk.say(f"{row.label}: {plea_line(row)}")
        for fact in unusual:
            talk.say(f"  unusual: {fact}")
        chosen = _choose(talk, {"a": "approve", "d": "deny"})
        if chosen:
            commands.run(talk, f"{'approve' if chosen == 'a' else 'deny'} {row.label}")

    return pick


def _holding(grant: Grant) -> Callable[[Talk], None]:
    def pick(talk: Talk) -> None:
        now = clock.now()
        with borrowed_db():
            ways = shapes.grant(grant, grant.person, now)["ssh"]
            longest = extensions.longest(grant, now)
        talk.say("Get in from your own machine, as long as it lasts:")
        talk.say("\n".join(f"  {way}" for way in ways))
        choices = {"d": "I'm done: release it"}
        if longest:
            choices = {"m": "ask for more time", **choices}
        chosen = _choose(talk, choices)
        if chosen == "d":
            commands.run(talk, f"end {grant.request.label}")
        elif chosen == "m":
            length = talk.ask(f"How many more minutes, up to {longest} [{min(30, longest)}]: ")
            more = shlex.quote(length or str(min(30, longest)))
            commands.run(talk, f"extend {grant.request.label} --for {more} --wait")

    return pick


def _asked(row: AccessRequest) -> Callable[[Talk], None]:
    def pick(talk: Talk) -> None:
        talk.say(f"{row.label} {row.title}, {row.minutes} min: {printable(row.reason)}")
        chosen = _choose(talk, {"w": "wait for the answer", "t": "take it back"})
        if chosen == "t":
            commands.run(talk, f"withdraw {row.label}")
        elif chosen == "w":
            talk.channel.write(answer_to(talk, row, wait=True).text)

    return pick


def _playbook(version: PlaybookVersion) -> Callable[[Talk], None]:
    def pick(talk: Talk) -> None:
        spec = queries.spec_of(version)
        talk.say(f"{version.title}: {spec.purpose}")
        talk.say(f"The whole of it: {settings.BREAKGLASS.public_url}/playbooks/{version.slug}/")
        words = ["request", version.slug, "--wait"]
        if len(spec.assets) > 1:
            place = talk.pick("Which machine?", [*spec.assets, "all of them"])
            words += ["--asset", spec.assets[place]] if place < len(spec.assets) else []
        usual = spec.duration.default_minutes
        length = talk.ask(f"How many minutes, up to {spec.duration.max_minutes} [{usual}]: ")
        words += ["--for", length or str(usual)]
        commands.run(talk, shlex.join(words))

    return pick
