"""FIDO keys: a touch and then the code, or their PIN in place of the code; one that counts backwards is an alarm.

Stock OpenSSH shows them, from an agent whose keys are software: what a key vouches for is the test's to say.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from breakglass import clock
from breakglass.models import SshKey
from breakglass.services import keys
from sessions.models import SSHSession
from tests.gateway.house import House
from tests.support.agent import ECDSA, ED25519, PIN, TOUCH, Agent, SoftKey
from tests.support.needs import requires

pytestmark = requires("ssh", "sshd")
Done = subprocess.CompletedProcess[bytes]


@dataclass
class Token:
    """Rita's security key, registered, and stock ssh that uses it."""

    house: House
    soft: SoftKey
    agent: Agent
    row: SshKey

    def show(self, *, asks: bool) -> Done:
        """Log in; with `asks` a one-time code is typed, without it any prompt is a failure."""
        assert self.house.gateway is not None
        self.house.gateway.throttle.right("rita", "127.0.0.1")
        public = self.house.dir / "soft.pub"
        options = () if asks else ("-o", "BatchMode=yes")
        words = [
            word.replace("IdentityAgent=none", f"IdentityAgent={self.agent.path}")
            for word in self.house.ssh("echo", "in", key=public, options=options)
        ]
        return subprocess.run(
            words, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
            env=self.house.askpass(),
        )  # fmt: skip


@pytest.fixture(params=[ED25519, ECDSA])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def token(house: House, kind: str) -> Iterator[Token]:
    house.grant()
    soft = SoftKey(kind, counter=7)
    (house.dir / "soft.pub").write_text(soft.line + "\n")
    row = keys.register_known(house.rita.person, soft.line, "soft", clock.now())
    with Agent(house.dir / "agent", soft) as agent:
        yield Token(house, soft, agent, row)


def test_a_touch_and_then_the_code(token: Token) -> None:
    assert token.show(asks=False).returncode == 255, "a touch alone is one factor"
    done = token.show(asks=True)
    assert done.stdout == b"in\n", done.stderr
    assert token.house.ended().factor.startswith("totp:")
    token.row.refresh_from_db()
    assert token.row.counter == 8


def test_its_pin_is_the_second_factor(token: Token) -> None:
    token.soft.flags = TOUCH | PIN
    done = token.show(asks=False)
    assert done.stdout == b"in\n", done.stderr
    assert token.house.ended().factor == f"fido:{token.row.fingerprint}:7"


@pytest.mark.parametrize("kind", [ED25519], indirect=True)
class TestRefused:
    def test_without_a_touch(self, token: Token) -> None:
        for flags in (0, PIN):
            token.soft.flags = flags
            done = token.show(asks=True)
            assert done.returncode == 255 and b"key_unproven" in done.stderr, flags
        assert SSHSession.objects.count() == 0
        token.row.refresh_from_db()
        assert token.row.counter is None, "a signature that doesn't count isn't counted"

    def test_without_its_pin_where_it_was_registered_with_one(self, token: Token) -> None:
        SshKey.objects.filter(pk=token.row.pk).update(verify_required=True)
        done = token.show(asks=True)
        assert done.returncode == 255 and b"key_unproven" in done.stderr
        token.soft.flags = TOUCH | PIN
        assert token.show(asks=False).returncode == 0

    def test_a_counter_that_goes_back(self, token: Token) -> None:
        assert token.show(asks=True).returncode == 0
        token.house.ended()
        for counter in (7, 3, 0):
            token.soft.counter = counter
            done = token.show(asks=True)
            assert done.returncode == 255 and b"key_cloned" in done.stderr, counter
        assert SSHSession.objects.count() == 1
        alarms = token.house.audited("people:ssh_key:cloned")
        assert [alarm["counter"] for alarm in alarms] == [7, 3, 0]

    def test_but_not_one_that_never_counts(self, token: Token) -> None:
        token.soft.counter = token.soft.step = 0
        token.soft.flags = TOUCH | PIN
        for _ in range(2):
            assert token.show(asks=False).returncode == 0

    def test_another_key_of_the_same_kind(self, token: Token) -> None:
        other = SoftKey(ED25519)
        (token.house.dir / "soft.pub").write_text(other.line + "\n")
        token.agent.keys = (other,)
        done = token.show(asks=True)
        assert done.returncode == 255 and b"in" not in done.stdout


def test_a_signature_says_what_it_says_or_nothing() -> None:
    """Flags and counter are part of what is signed: changing one makes the signature bad."""
    from sessions.gateway import fido

    for kind in (ED25519, ECDSA):
        soft = SoftKey(kind, flags=TOUCH, counter=0x01020304)
        good = soft.sign(b"data")
        mark = fido.verify(kind, soft.blob, b"data", good)
        assert mark == fido.Mark(touched=True, verified=False, counter=0x01020304)
        for at in (len(good) - 5, len(good) - 1):
            changed = bytearray(good)
            changed[at] ^= PIN
            assert fido.verify(kind, soft.blob, b"data", bytes(changed)) is None
        assert fido.verify(kind, soft.blob, b"date", good) is None
        assert fido.verify(kind, soft.blob, b"data", good + b"\0") is None
        assert fido.verify(kind, SoftKey(kind).blob, b"data", good) is None
        for cut in range(len(good)):
            assert fido.verify(kind, soft.blob, b"data", good[:cut]) is None


def test_a_web_sites_key_is_none_of_sshs(tmp_path: Path) -> None:
    from sessions.gateway import fido

    soft = SoftKey(application="https://example.org")
    assert fido.verify(soft.kind, soft.blob, b"data", soft.sign(b"data")) is None
