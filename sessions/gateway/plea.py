"""`ssh PERSON+ASSET@GATEWAY` without a grant: ask for one there and then, wait, and go on into the shell.

Who proved who they are, and whose only objection is that no grant lives, is let in to nowhere: to a channel of the
gateway's own. No session exists before the approval; when it comes, the decision is asked for as at any login
(`opening.open_session`), and only then does the channel become one of a session. Without a terminal it is refused.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from breakglass import clock, queries
from breakglass.domain.policy import LEAST_REASON
from breakglass.domain.refusals import Refusal, RefusalCode, Refused, refusal
from breakglass.domain.requests import RequestState
from breakglass.models import AccessRequest, Person, PlaybookVersion
from breakglass.services import requests
from sessions.gateway import opening
from sessions.gateway.borrowed import borrowed_db
from sessions.gateway.commands import asking, waiting
from sessions.gateway.commands.talk import Talk, Wrong, ssh_command
from sessions.gateway.handover import HandedChannel
from sessions.gateway.local import LocalChannel
from sessions.gateway.names import Address, Identity
from sessions.gateway.wire import Disconnect, Msg, OpenFailure, message, string, u32
from sessions.states import EndReason

if TYPE_CHECKING:
    from sessions.gateway.callbacks import Visitor

ASKABLE = frozenset({RefusalCode.NO_GRANT, RefusalCode.GRANT_ENDED, RefusalCode.GRANT_USE_WINDOW_OVER})
CHANNEL_SECONDS = 30.0
ASKING_SECONDS = 600.0
FAREWELL_SECONDS = 3.0
OPENING_SECONDS = 20.0
MOST_SHOWN = 3
REFUSED, STOPPED = 1, 130


class PleaChannel(LocalChannel):
    """The one channel of a connection that has no session yet. Only a shell with a terminal may wait here."""

    def __init__(self, plea: Plea) -> None:
        super().__init__(plea.visitor.leg, plea.serve)
        self._plea = plea

    def _on_request(self, name: str, want_reply: bool, body: bytes) -> None:
        if name in {"exec", "subsystem"} or (name == "shell" and not self.pty):
            self._plea.refuse()
        else:
            super()._on_request(name, want_reply, body)


class Plea:
    """One connection whose person may ask for what they lack."""

    def __init__(self, visitor: Visitor, identity: Identity, address: Address, why: Refusal) -> None:
        self.visitor = visitor
        self.is_waiting = False
        self._identity = identity
        self._address = address
        self._why = why

    @classmethod
    def of(cls, visitor: Visitor, identity: Identity, address: Address, refused: Refused) -> Plea | None:
        """Where asking would help: no grant lives, and some playbook leads there. A proof for one grant asks for none."""
        if refused.refusal.code not in ASKABLE or identity.grant_id is not None:
            return None
        plea = cls(visitor, identity, address, refused.refusal)
        try:
            with borrowed_db():
                return plea if plea._fitting(Person.objects.get(pk=identity.person_id)) else None
        except Refused:
            return None

    @property
    def banner(self) -> str:
        """The refusal, and what a script does about it."""
        lines = [f"Breakglass: {self._why}"]
        login = f" --login {self._address.login}" if self._address.login else ""
        with contextlib.suppress(Refused), borrowed_db():
            person = Person.objects.get(pk=self._identity.person_id)
            own, _ = asking.open_incidents(person)
            case = own[0].label if own else "'new: what happened'"
            for version in self._fitting(person)[:MOST_SHOWN]:
                words = f"request {version.slug} --asset {self._address.asset}{login} --incident {case}"
                command = ssh_command(person.username, f"\"{words} --reason 'what is broken' --wait\"")
                lines.append(f"From a script: {command}")
        return "\n".join(lines) + "\n"

    def refuse(self) -> None:
        """As at the login: a script isn't asked anything."""
        self.visitor.deadline = clock.monotonic() + FAREWELL_SECONDS
        self.visitor.leg.cut(Disconnect.BY_APPLICATION, f"{self._why.message} [{self._why.code}]")

    # The connection. -------------------------------------------------------------------------------------

    def on_channel_open(self, kind: str, remote_id: int, window: int, max_packet: int) -> None:
        if kind == "session" and not self.is_waiting:
            self.is_waiting = True
            self.visitor.keep(ASKING_SECONDS)
            PleaChannel(self).open(remote_id, window, max_packet)
            return
        why = self._why
        if kind == "session":
            why = refusal(RefusalCode.TOO_MANY_CHANNELS, limit=1)
        text = string(f"Breakglass: {why}")
        self.visitor.leg.send(
            message(Msg.OPEN_FAILURE, u32(remote_id), u32(OpenFailure.PROHIBITED), text, string("en"))
        )

    # What is said on its channel. ------------------------------------------------------------------------

    def serve(self, channel: LocalChannel, command: str | None) -> int:
        """Ask, wait, go in. Returns the exit status of what didn't come to a shell."""
        talk = Talk(channel, self._identity.person_id, self.visitor.keep)
        sent: AccessRequest | None = None
        try:
            sent = self._waiting_already(talk) or self._send(talk)
            standing = waiting.until_decided(talk, sent.pk)
            talk.say(waiting.outcome(standing, clock.now()))
            if standing.state(clock.now()) is not RequestState.APPROVED:
                return REFUSED
            return self._go_in(talk)
        except waiting.Stopped:
            assert sent is not None
            talk.say(waiting.still_waits(sent.label, self._identity.username))
            talk.say("To wait again, connect as you just did.")
            return STOPPED
        except (Refused, Wrong) as no:
            talk.say(f"Breakglass: {no.refusal}" if isinstance(no, Refused) else str(no).strip())
            return REFUSED
        except EOFError:
            if sent is None:
                with contextlib.suppress(EOFError):
                    talk.say("Nothing was asked for.")
            return STOPPED
        finally:
            self.is_waiting = False
            self.visitor.deadline = clock.monotonic() + CHANNEL_SECONDS

    def _waiting_already(self, talk: Talk) -> AccessRequest | None:
        """What the person asked for before and still waits: who lost the connection goes on waiting for it."""
        with borrowed_db():
            pending = queries.requests_of(talk.person()).filter(
                state=RequestState.PENDING,
                lapses_at__gt=clock.now(),
                extends=None,
                assets__name=self._address.asset,
            )
            if self._address.login:
                pending = pending.filter(login__in=("", self._address.login))
            found = pending.order_by("-number").first()
        if found is not None:
            talk.say(f"You have asked for it already: {found.label}, {found.title}.")
        return found

    def _send(self, talk: Talk) -> AccessRequest:
        with borrowed_db():
            fitting = self._fitting(talk.person())
        if not fitting:
            raise Refused(self._why)
        place = talk.pick("Under which playbook?", [row.title for row in fitting]) if len(fitting) > 1 else 0
        version = fitting[place]
        spec = queries.spec_of(version)
        who = " or ".join(spec.approvers.groups)
        say = "says" if spec.approvers.count == 1 else "say"
        talk.say(f"Ask for it here: {version.title}, {spec.duration.default_minutes} min.")
        talk.say(f"You go on into the shell when {spec.approvers.count} of {who} {say} yes. Ctrl-C leaves.")
        reason = talk.ask(asking.REASON)
        while len(reason) < LEAST_REASON:
            talk.say(f"Say it in {LEAST_REASON} characters or more: the approvers decide on it.")
            reason = talk.ask(asking.REASON)
        form = requests.SubmitForm(
            playbook=version.slug,
            incident_id=asking.incident(talk, None, reason),
            assets=(self._address.asset or "",),
            reason=reason,
            login=self._address.login,
        )
        with borrowed_db():
            sent = requests.submit(talk.person(), form, clock.now())
        talk.say(f"{sent.label} is sent.")
        return sent

    def _fitting(self, person: Person) -> list[PlaybookVersion]:
        """The playbooks that this person may ask for and that lead where they want to go."""
        login = self._address.login
        return [
            version
            for version in queries.playbooks_for(person)
            if self._address.asset in (spec := queries.spec_of(version)).assets
            and (login is None or login in spec.logins)
        ]

    def _go_in(self, talk: Talk) -> int:
        """The same way in as any: the decision, the row, the recording, the asset; then the channel is the session's."""
        channel, visitor = talk.channel, self.visitor
        with channel.deaf():
            visitor.keep(OPENING_SECONDS * 2)
            visitor.gateway.check_room()
            session, banner = opening.open_session(visitor, self._identity, self._address)
            visitor.become(session)
            channel.write(banner)
            if channel.dropped:
                channel.write("What you typed while waiting was dropped.\n")
            handed = session.hand_over(partial(HandedChannel, held=channel), channel.ends)
            if not handed.settled.wait(OPENING_SECONDS):
                session.end(EndReason.UPSTREAM_FAILED)
        return REFUSED
