"""A small plant as the API tests know it: people of every role, one of each thing, and a clock to turn by hand."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from django.test import Client

from breakglass.demo.cast import MACHINES, Player
from breakglass.models import AccessRequest, Grant, Incident, Lock, Person
from breakglass.services import (
    approvals,
    grants,
    incidents,
    locks,
    playbooks,
    requests,
    second_factor,
    tokens,
)
from breakglass.services.assets import LoginForm
from breakglass.services.requests import SubmitForm
from playbooks.loader import load_catalog
from sessions import services as data_plane
from sessions.models import FileOperation, Finding, Review, SSHSession
from sessions.recording.kept import KeptWriter
from sessions.recording.recorder import Recorder
from sessions.services import ChannelFacts, FileFacts, OpenForm, Totals, findings
from sessions.services.findings import FindingForm
from sessions.services.recordings import recording_key, store
from sessions.states import EndReason
from tests.support import cast as house
from tests.support.clock import FrozenClock

IVY = Player(
    "ivy", "Ivy Chen", ("approver",), ("it-leads",)
)  # approves, but not under the historian's playbook


@dataclass
class Answer:
    """A response, read."""

    status: int
    body: Any
    headers: Any

    @property
    def refusal(self) -> str:
        """The code, once the error's shape was checked."""
        assert set(self.body) == {"refusal", "message", "needs"}, self.body
        assert isinstance(self.body["message"], str)
        assert self.body["message"].strip()
        assert all(isinstance(need, str) for need in self.body["needs"])
        return str(self.body["refusal"])


@dataclass
class Plant:
    """Everybody, their tokens, and what was set up."""

    clock: FrozenClock
    people: dict[str, Person] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def otp(self, name: str) -> str:
        """A fresh code of that person's app; the clock moves on so that each is new."""
        self.clock.forward(seconds=30)
        return second_factor.current_code(self.people[name], self.clock.now)

    def call(self, name: str | None, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One call by that person, or by nobody."""
        if name is not None:
            headers["Authorization"] = f"Bearer {self.tokens[name]}"
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        response = Client(raise_request_exception=False).generic(
            method, f"/api/v1{path}", data, content_type="application/json", headers=headers
        )
        raw = b"".join(response) if response.streaming else response.content
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return Answer(response.status_code, json.loads(raw) if is_json else raw, response.headers)

    def get(self, name: str | None, path: str) -> Answer:
        return self.call(name, "GET", path)

    def post(self, name: str | None, path: str, body: Any = None) -> Answer:
        return self.call(name, "POST", path, body)


def plant(clock: FrozenClock) -> Plant:
    """Everybody, the demo's machines and the catalogue's playbooks."""
    made = Plant(clock, house.everybody(clock.now).people)
    made.people["ivy"] = house.enter(IVY, clock.now)
    for name, person in made.people.items():
        _, made.tokens[name] = tokens.issue_known(person, "tests", clock.now)
    for machine in MACHINES:
        logins = [LoginForm(login, "certificate") for login in machine.logins]
        house.machine(clock.now, machine.name, kind=machine.asset_class, logins=logins)
    playbooks.publish(_catalog(), clock.now)
    return made


@dataclass
class Things:
    """One of each: a request that waits, a live grant, an ended one with its session, recording and review, a lock."""

    incident: Incident
    pending: AccessRequest
    live: Grant
    ended: Grant
    session: SSHSession
    open_session: SSHSession
    review: Review
    lock: Lock
    finding: Finding

    def fill(self, path: str) -> str:
        return path.format(
            incident=self.incident.pk,
            pending=self.pending.pk,
            live=self.live.pk,
            ended=self.ended.pk,
            session=self.session.pk,
            open=self.open_session.pk,
            review=self.review.pk,
            lock=self.lock.pk,
            finding=self.finding.pk,
            serial=4711,  # of no certificate
            file="9.1",
            row=1,
        )


def things(made: Plant) -> Things:
    """All of it is rita's, under historian-down; ada approved. The lock is on hmi-02."""
    clock, people = made.clock, made.people
    incident = incidents.open_incident(people["ada"], "The historian stopped", clock.now)
    ended = approved(made, incident)
    session = recorded_session(made, ended)
    grants.release(ended.pk, people["rita"], clock.forward(seconds=5))
    review = data_plane.open_review(ended.pk, clock.now)
    assert review is not None
    found = FindingForm("unsafe", "medium", "Restarted without looking", session.pk, 0.0)
    finding = findings.add(review.pk, people["vera"], found, clock.now)
    live = approved(made, incident)
    lock = locks.place(
        people["admin"], "asset", "hmi-02", "under investigation", made.otp("admin"), clock.now
    )
    pending = ask(made, incident)
    ended.refresh_from_db()
    running = opened_session(made, live)
    return Things(incident, pending, live, ended, session, running, review, lock, finding)


def ask(made: Plant, incident: Incident, slug: str = "historian-down") -> AccessRequest:
    form = SubmitForm(
        slug, incident.pk, ("hist-01",), "The trend has stopped; restart the service", "operator"
    )
    return requests.submit(made.people["rita"], form, made.clock.now)


def approved(made: Plant, incident: Incident) -> Grant:
    request = ask(made, incident)
    approvals.approve(request.pk, made.people["ada"], made.otp("ada"), "go on", made.clock.now)
    return Grant.objects.get(request=request)


def opened_session(made: Plant, grant: Grant) -> SSHSession:
    form = OpenForm(
        id=uuid.uuid4(),
        grant_id=grant.pk,
        person_id=grant.person_id,
        asset_id=grant.assets.get().pk,
        login="operator",
        decision_id=uuid.uuid4(),
        client_address="192.0.2.7",
        client_version="SSH-2.0-OpenSSH_9.2",
        factor="publickey+totp",
        gateway_id="gw-test",
    )
    session = data_plane.open_session(form, made.clock.now)
    data_plane.mark_live(session.pk, "127.0.0.1:22", "SHA256:pinned", made.clock.now)
    return session


def recorded_session(made: Plant, grant: Grant) -> SSHSession:
    """A session that ran one command, ended, and was sealed."""
    session = opened_session(made, grant)
    store().prepare()
    header = {"width": 80, "height": 24, "timestamp": 1, "env": {"TERM": "xterm"}, "breakglass": {}}
    recorder = Recorder(store().open_path(session.pk), header, clock=made.clock)
    recorder.output(0, b"hello from the historian\r\n")
    recorder.close()
    facts = ChannelFacts(number=0, kind="exec", opened_at=made.clock.now, command="uptime", exit_status=0)
    data_plane.save_channel(session.pk, facts)
    keep_file(session, made.clock.now)
    data_plane.end_session(session.pk, EndReason.CLIENT_CLOSED, Totals(1, 26), made.clock.forward(seconds=5))
    assert data_plane.seal_recording(session.pk, made.clock.now)
    return session


MOVED = b"\x00\x01 what was moved\n"


def keep_file(session: SSHSession, now: datetime) -> None:
    """One file that sftp brought over, of which a copy is kept."""
    writer = KeptWriter(store().kept_path(session.pk, 9, 1), recording_key())
    writer.write(MOVED)
    writer.close()
    facts = FileFacts(
        channel=9, number=1, verb="write", path="/srv/patch.tar", target="", direction=FileOperation.Direction.UP,
        bytes=len(MOVED), sha256=hashlib.sha256(MOVED).hexdigest(), outcome="done", kept=f"{session.pk}/9-1.kept",
        started_at=now, ended_at=now,
    )  # fmt: skip
    data_plane.save_file_operations([(session.pk, facts)])


@cache
def _catalog() -> Any:
    return tuple(loaded.spec for loaded in load_catalog())
