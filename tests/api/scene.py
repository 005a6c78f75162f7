"""A small plant as the API tests know it: people of every role, one of each thing, and a clock to turn by hand."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib.auth.models import Group
from django.test import Client

from breakglass.models import AccessRequest, Grant, Incident, Lock, Person
from breakglass.services import (
    approvals,
    assets,
    grants,
    incidents,
    locks,
    playbooks,
    requests,
    second_factor,
    tokens,
)
from breakglass.services.requests import SubmitForm
from playbooks.loader import load_catalog
from sessions import services as data_plane
from sessions.models import Review, SSHSession
from sessions.recording.recorder import Recorder
from sessions.services import ChannelFacts, OpenForm, Totals
from sessions.services.recordings import store
from sessions.states import EndReason

ROLES = {
    "rita": ["responders"],
    "rob": ["responders"],
    "ada": ["ot-leads", "it-leads"],
    "ben": ["ot-leads", "it-leads"],
    "ivy": ["it-leads"],  # an approver, but not of the historian's playbook
    "vera": ["reviewers"],
    "otto": ["auditors"],
    "admin": ["administrators"],
}
KINDS = {"hist-01": "historian", "hmi-02": "hmi", "eng-ws-03": "engineering", "bms-04": "building"}
LOGINS = {"hist-01": ["operator", "histadmin"], "eng-ws-03": ["engineer"]}
START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class HandClock:
    """The wall clock of the tests: it stands until it is turned."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def turn(self, **by: float) -> datetime:
        self.at += timedelta(**by)
        return self.at


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

    clock: HandClock
    people: dict[str, Person] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def otp(self, name: str) -> str:
        """A fresh code of that person's app; the clock moves on so that each is new."""
        self.clock.turn(seconds=30)
        return second_factor.current_code(self.people[name], self.clock.now())

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


def plant(clock: HandClock) -> Plant:
    """People, assets and the catalogue's playbooks."""
    made = Plant(clock)
    for name, groups in ROLES.items():
        made.people[name] = _person(name, groups, clock.now())
        _, made.tokens[name] = tokens.issue_known(made.people[name], "tests", clock.now())
    for name, kind in KINDS.items():
        _register(name, kind, clock.now())
    playbooks.publish(_catalog(), clock.now())
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
        )


def things(made: Plant) -> Things:
    """All of it is rita's, under historian-down; ada approved. The lock is on hmi-02."""
    clock, people = made.clock, made.people
    incident = incidents.open_incident(people["ada"], "The historian stopped", clock.now())
    ended = approved(made, incident)
    session = recorded_session(made, ended)
    grants.release(ended.pk, people["rita"], clock.turn(seconds=5))
    review = data_plane.open_review(ended.pk, clock.now())
    assert review is not None
    live = approved(made, incident)
    lock = locks.place(
        people["admin"], "asset", "hmi-02", "under investigation", made.otp("admin"), clock.now()
    )
    pending = ask(made, incident)
    ended.refresh_from_db()
    return Things(incident, pending, live, ended, session, opened_session(made, live), review, lock)


def ask(made: Plant, incident: Incident, slug: str = "historian-down") -> AccessRequest:
    form = SubmitForm(
        slug, incident.pk, ("hist-01",), "The trend has stopped; restart the service", "operator"
    )
    return requests.submit(made.people["rita"], form, made.clock.now())


def approved(made: Plant, incident: Incident) -> Grant:
    request = ask(made, incident)
    approvals.approve(request.pk, made.people["ada"], made.otp("ada"), "go on", made.clock.now())
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
    session = data_plane.open_session(form, made.clock.now())
    data_plane.mark_live(session.pk, "127.0.0.1:22", "SHA256:pinned", made.clock.now())
    return session


class _Seconds:
    def monotonic(self) -> float:
        return 1.0


def recorded_session(made: Plant, grant: Grant) -> SSHSession:
    """A session that ran one command, ended, and was sealed."""
    session = opened_session(made, grant)
    store().prepare()
    header = {"width": 80, "height": 24, "timestamp": 1, "env": {"TERM": "xterm"}, "breakglass": {}}
    recorder = Recorder(store().open_path(session.pk), header, clock=_Seconds())
    recorder.output(0, b"hello from the historian\r\n")
    recorder.close()
    facts = ChannelFacts(number=0, kind="exec", opened_at=made.clock.now(), command="uptime", exit_status=0)
    data_plane.save_channel(session.pk, facts)
    data_plane.end_session(session.pk, EndReason.CLIENT_CLOSED, Totals(1, 26), made.clock.turn(seconds=5))
    assert data_plane.seal_recording(session.pk, made.clock.now())
    return session


@cache
def _catalog() -> Any:
    return tuple(loaded.spec for loaded in load_catalog())


def _person(name: str, groups: list[str], now: datetime) -> Person:
    person = Person(username=name, full_name=name.title(), created_at=now)
    person.set_unusable_password()
    person.save()
    person.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
    secret = base64.b32encode(hashlib.sha256(name.encode()).digest()[:20]).decode()
    second_factor.enrol_known(person, secret, now)
    return person


def _register(name: str, kind: str, now: datetime) -> None:
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    logins = [assets.LoginForm(login, "certificate") for login in LOGINS.get(name, ["operator"])]
    form = assets.AssetForm(name, name, kind, "127.0.0.1", 22, [key.decode()], logins, owner="Operations")
    assets.register(form, by=None, now=now)
