"""A connection outlives its login: what was proved then is asked about again when a session begins, and while it lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from breakglass import clock
from breakglass.models import Grant
from breakglass.services import certificates, keys
from sessions.gateway.names import Identity
from sessions.models import SSHSession
from tests.gateway.house import House
from tests.gateway.test_ends import live, look
from tests.gateway.test_plea import asking, impatient, left, plead, say_yes
from tests.support.needs import requires

pytestmark = requires("ssh", "sshd", "ssh-keygen")
__all__ = ["asking", "impatient"]
PATIENCE = 30


def remove_key(house: House) -> None:
    keys.remove(house.rita.person, house.rita.person.ssh_keys.get().pk, clock.now())


def certify(house: House, grant: Grant) -> tuple[int, paramiko.PKey]:
    """A certificate for rita's registered key."""
    line = Path(f"{house.rita.key}.pub").read_text()
    made = certificates.issue(house.rita.person, grant.pk, line, house.rita.code(), clock.now())
    path = house.dir / "shown-cert.pub"
    path.write_text(made.line)
    key = paramiko.Ed25519Key.from_private_key_file(str(house.rita.key))
    key.load_certificate(str(path))
    return made.row.serial, key


@contextmanager
def outer(house: House, key: paramiko.PKey | None = None) -> Iterator[paramiko.Transport]:
    """rita's connection to the gateway, to no asset yet: with a certificate, or by her key and a code."""
    with paramiko.Transport(("127.0.0.1", house.port)) as transport:
        transport.start_client(timeout=PATIENCE)
        if key is not None:
            transport.auth_publickey("rita", key)
        else:
            transport.auth_publickey("rita", paramiko.Ed25519Key.from_private_key_file(str(house.rita.key)))
            transport.auth_interactive("rita", lambda *_: [house.rita.code()])
        yield transport


def jump(house: House, through: paramiko.Transport) -> str:
    """What a jump over that connection comes to: the output of a command, or the gateway's words."""
    hop = through.open_channel("direct-tcpip", ("hist-01", 22), ("127.0.0.1", 0), timeout=PATIENCE)
    with paramiko.Transport(hop) as inner:
        inner.start_client(timeout=PATIENCE)
        try:
            inner.auth_none(house.sshd.login)
        except paramiko.SSHException:
            assert inner.auth_handler is not None
            return str(inner.auth_handler.banner)  # it gives it to nobody once the connection is gone
        channel = inner.open_session(timeout=PATIENCE)
        channel.exec_command("echo in")
        return channel.makefile().read().decode()


def test_a_removed_key_opens_no_session_over_a_connection_that_it_opened(house: House) -> None:
    grant = house.grant(clock={"starts": "first_use", "use_within_minutes": 60})
    with outer(house) as through:
        remove_key(house)
        said = jump(house, through)
    assert "a key that was removed" in said and "[not_allowed]" in said
    assert not SSHSession.objects.exists()
    grant.refresh_from_db()
    assert grant.state == "armed", "a refused one starts no clock"
    assert house.audited("gateway:access:refused")[-1]["refusal"] == "not_allowed"


def test_a_revoked_certificate_opens_no_session_over_a_connection_that_it_opened(house: House) -> None:
    serial, key = certify(house, house.grant())
    with outer(house, key) as through:
        assert jump(house, through) == "in\n"
        house.ended()
        certificates.revoke(house.rita.person, serial, clock.now())
        said = jump(house, through)
    assert "it was revoked" in said and "[certificate_refused]" in said
    assert SSHSession.objects.count() == 1


def test_a_certificate_of_a_removed_key_opens_no_session_either(house: House) -> None:
    _, key = certify(house, house.grant())
    with outer(house, key) as through:
        remove_key(house)
        said = jump(house, through)
    assert "its key was removed" in said
    assert not SSHSession.objects.exists()


def test_a_removed_key_ends_the_sessions_that_it_opened(house: House) -> None:
    house.grant()
    child = house.prompt()
    look(house)
    child.sendline("echo still-$((1+1))")
    child.expect("still-2")
    remove_key(house)
    look(house)
    child.expect("your access was withdrawn")
    assert house.ended().end_reason == "revoked"


def test_another_key_goes_on(house: House) -> None:
    """Only what a key opened ends with it."""
    from sessions.gateway import lease
    from tests.support import sshd

    house.grant()
    other = house.dir / "other"
    row = keys.register_known(house.rita.person, sshd.make_key(other), "other", clock.now())
    client = house.popen("echo up; cat")
    assert client.stdout is not None and client.stdout.readline() == b"up\n"
    session = live(house)
    keys.remove(house.rita.person, row.pk, clock.now())
    lease.renew([session])
    assert session.reason is None
    assert session.authorization.key == house.rita.person.ssh_keys.get(removed_at=None).fingerprint
    client.communicate(timeout=PATIENCE)


def test_who_waits_with_a_key_that_is_removed_gets_in_nowhere(asking: House) -> None:
    child = plead(asking)
    remove_key(asking)
    say_yes(asking)
    child.expect(r"\[not_allowed\]")
    assert left(child) == 1
    assert not SSHSession.objects.exists()


@pytest.mark.parametrize("whose", ["nobody's", "another person's"])
def test_a_key_counts_for_its_own_person_only(house: House, whose: str) -> None:
    from breakglass.domain.refusals import RefusalCode, Refused
    from sessions.gateway import pep

    house.grant()
    fingerprint = "SHA256:made-up" if whose == "nobody's" else house.ada.person.ssh_keys.get().fingerprint
    identity = Identity(house.rita.person.pk, "rita", fingerprint)
    with pytest.raises(Refused) as refused:
        pep.authorize(identity, "hist-01", None)
    assert refused.value.refusal.code is RefusalCode.NOT_ALLOWED


def test_withdrawing_rings_where_the_gateway_listens(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from breakglass import doorbell
    from sessions.gateway import lease

    grant = house.grant()
    serial, _ = certify(house, grant)
    looked: list[dict[str, object]] = []
    monkeypatch.setattr(
        doorbell, "_publish",
        lambda topic, payload: lease._route(topic, payload, lambda **which: looked.append(which)),
    )  # fmt: skip
    certificates.revoke(house.rita.person, serial, clock.now())
    assert {"grant_id": grant.pk} in looked
    looked.clear()
    remove_key(house)
    assert {} in looked
