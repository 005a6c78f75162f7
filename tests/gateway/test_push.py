"""Whatever withdraws access rings, and the ring alone ends the session: by Redis, and by PostgreSQL's own NOTIFY."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from django.db import connection

from breakglass import clock, doorbell, later
from breakglass.models import Approval, Grant, Incident, Lock, Person, SshKey
from breakglass.services import certificates, grants, incidents, keys, locks, people
from sessions import services
from sessions.gateway import watchdog
from sessions.models import SSHSession
from tests.gateway import house as building
from tests.gateway.house import House, eventually
from tests.support.needs import requires
from tests.support.valkey import Valkey, running

pytestmark = requires("ssh", "sshd", "ssh-keygen")
PATIENCE = 30


def kill(house: House, grant: Grant) -> None:
    services.kill(house.session().pk, house.ada.person, "looks wrong", clock.now())


def revoke(house: House, grant: Grant) -> None:
    grants.revoke(grant.pk, house.ada.person, "wrong machine", house.ada.code(), clock.now())


def release(house: House, grant: Grant) -> None:
    grants.release(grant.pk, house.rita.person, clock.now())


def close_the_incident(house: House, grant: Grant) -> None:
    incidents.close(grant.incident_id, house.rita.person, clock.now())


def disable_the_person(house: House, grant: Grant) -> None:
    people.disable(house.rita.person, by=None, now=clock.now())


def remove_the_key(house: House, grant: Grant) -> None:
    keys.remove(house.rita.person, house.rita.person.ssh_keys.get(removed_at=None).pk, clock.now())


def lock(kind: str) -> Callable[[House, Grant], None]:
    def place(house: House, grant: Grant) -> None:
        subject = {
            "person": "rita", "asset": "hist-01", "playbook": grant.playbook.slug,
            "incident": str(grant.incident_id), "everything": "",
        }[kind]  # fmt: skip
        locks.place(ADMIN[0].person, kind, subject, "impostor suspected", ADMIN[0].code(), clock.now())

    return place


ADMIN: list[building.Human] = []
VERBS: dict[str, tuple[Callable[[House, Grant], None], str]] = {
    "kill": (kill, "killed"),
    "revoke": (revoke, "revoked"),
    "release": (release, "released"),
    "close the incident": (close_the_incident, "revoked"),
    "disable the person": (disable_the_person, "not_authorized"),
    "remove the key": (remove_the_key, "revoked"),
    **{f"lock {kind}": (lock(kind), "locked") for kind in ("person", "asset", "playbook", "incident", "everything")},
}  # fmt: skip


@pytest.fixture
def nothing_else(monkeypatch: pytest.MonkeyPatch, house: House) -> None:
    """The gateway never looks by itself."""
    monkeypatch.setattr(watchdog, "RENEW_EVERY", 3600.0)
    monkeypatch.setattr(later, "ask", lambda *_, **__: None)
    ADMIN[:] = [building.human(house.dir, "admin", ["administrators"])]


@pytest.fixture
def redis(settings: Any) -> Iterator[Valkey]:
    with running() as valkey:
        settings.BREAKGLASS = settings.BREAKGLASS.model_copy(update={"redis_url": valkey.url})
        doorbell._client.cache_clear()
        yield valkey
        doorbell._client.cache_clear()


def at_work(house: House) -> subprocess.Popen[bytes]:
    client = house.popen("echo up; cat")
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    return client


def each_verb_ends_a_session(house: House) -> None:
    """One after the other in the same house; what was withdrawn is given back for the next."""
    for verb, (withdraw, reason) in VERBS.items():
        grant = house.grant()
        client = at_work(house)
        _let_the_first_look_pass(house)
        withdraw(house, grant)
        try:
            client.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{verb} rang at nobody's") from None
        client.communicate()
        assert house.ended().end_reason == reason, verb
        _give_back(house, grant)


def _let_the_first_look_pass(house: House) -> None:
    """A session is asked about once when it begins."""
    assert house.gateway is not None
    watches = house.gateway._watchdog._watches
    eventually(lambda: watches and not any(w.renewing for w in list(watches.values())), "it was asked about")


def _give_back(house: House, grant: Grant) -> None:
    # One code isn't good for two, and the tests are quicker than codes are.
    for approval in Approval.objects.all():
        Approval.objects.filter(pk=approval.pk).update(factor=f"old:{approval.pk}")
    grant.refresh_from_db()
    if grant.state == "active":
        grants.release(grant.pk, house.rita.person, clock.now())
    Lock.objects.filter(lifted_at=None).update(lifted_at=clock.now())
    Person.objects.filter(pk=house.rita.person.pk).update(is_active=True)
    SshKey.objects.update(removed_at=None)
    Incident.objects.update(closed_at=None, closed_by=None)
    Grant.objects.update(reviewed_at=clock.now())
    house.rita.person.refresh_from_db()


@pytest.mark.usefixtures("nothing_else")
def test_each_of_them_rings_by_redis(redis: Valkey, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from breakglass import database_bell

    monkeypatch.setattr(database_bell, "ring", lambda *_: None)
    eventually(redis.somebody_listens, "the gateway listens")
    each_verb_ends_a_session(house)


@pytest.mark.usefixtures("nothing_else")
def test_each_of_them_rings_by_the_database_with_redis_dead(house: House) -> None:
    """On SQLite there is no such bell: there the gateway's own look, every 5 s, is what is left."""
    if connection.vendor == "postgresql":
        each_verb_ends_a_session(house)
    else:
        assert not doorbell.answers()


@pytest.mark.usefixtures("nothing_else")
def test_what_nobody_understands_silences_no_bell(redis: Valkey, house: House) -> None:
    grant = house.grant()
    eventually(redis.somebody_listens, "the gateway listens")
    client = at_work(house)
    _let_the_first_look_pass(house)
    for noise in (b"5", b"[]", b"\xff", b"{"):
        doorbell._client().publish("breakglass:sessions", noise)
        eventually(lambda: not redis.somebody_listens(), "it hung up on that")
        eventually(redis.somebody_listens, "the gateway listens again")
    kill(house, grant)
    client.wait(PATIENCE)
    client.communicate()
    assert house.ended().end_reason == "killed"


@pytest.mark.usefixtures("nothing_else")
def test_a_revoked_certificate_ends_what_it_opened(redis: Valkey, house: House) -> None:
    grant = house.grant()
    eventually(redis.somebody_listens, "the gateway listens")
    line = Path(f"{house.rita.key}.pub").read_text()
    made = certificates.issue(house.rita.person, grant.pk, line, house.rita.code(), clock.now())
    shown = house.dir / "shown-cert.pub"
    shown.write_text(made.line)
    key = paramiko.Ed25519Key.from_private_key_file(str(house.rita.key))
    key.load_certificate(str(shown))
    with paramiko.Transport(("127.0.0.1", house.port)) as transport:
        transport.start_client(timeout=PATIENCE)
        transport.auth_publickey("rita+hist-01", key)
        channel = transport.open_session(timeout=PATIENCE)
        channel.exec_command("echo up; cat")
        assert channel.makefile().readline() == "up\n"
        _let_the_first_look_pass(house)
        certificates.revoke(house.rita.person, made.row.serial, clock.now())
        with contextlib.suppress(OSError):
            assert channel.recv(100) == b""
    assert house.ended().end_reason == "revoked"
    assert SSHSession.objects.count() == 1
