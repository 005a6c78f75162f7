"""A fuzzer over the whole way in: every message in every state, right codes at hand, and nobody gets in.

`BREAKGLASS_TEST_FUZZ=2000 pytest tests/gateway/test_intruders.py` looks longer, with another seed each time.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import paramiko
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from sessions.gateway.wire import boolean, string
from sessions.models import SSHSession
from tests.gateway import house as building
from tests.gateway.house import House, Human
from tests.gateway.intruder import ALGORITHMS, AT, OTHERS, PLAUSIBLE, Intruder, junk, unencrypted
from tests.gateway.stranger import load
from tests.support import sshd

LONG = int(os.environ.get("BREAKGLASS_TEST_FUZZ", "0"))
users = st.one_of(st.just(AT), st.just(AT), st.sampled_from(OTHERS))
numbers = st.integers(1, 100)


class Scene:
    """What an intruder has: a key of their own, that of eve (known here, but without a grant), and rita's codes."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.sessions = 0
        self.eve = building.human(house.dir, "eve", ["responders"])
        sshd.make_key(house.dir / "key-mallory")
        self.own = load(house.dir / "key-mallory")
        self.keys = {"mallory": self.own, "eve": load(self.eve.key)}
        self.blobs = {
            "rita": load(house.rita.key).asbytes(), "ada": load(house.ada.key).asbytes(),
            **{name: key.asbytes() for name, key in self.keys.items()},
        }  # fmt: skip

    def fresh(self) -> None:
        """Wrong tries slow an intruder down; here all of them shall be looked at."""
        assert self.house.gateway is not None
        self.house.gateway.throttle._tries.clear()

    def code(self, whose: Human | None = None) -> str:
        return (whose or self.house.rita).code()

    def arrive(self, state: str) -> Intruder:
        """A connection in that state of authentication."""
        raw = Intruder(self.house.port)
        if state != "kex":
            raw.service()
        steps = STATES[state]
        if steps is not None:
            steps(self, raw)
        return raw


def probed(scene: Scene, raw: Intruder) -> None:
    raw.key(AT, scene.blobs["rita"])
    raw.expect(60)


def refused(scene: Scene, raw: Intruder) -> None:
    raw.key(AT, scene.blobs["rita"], by=scene.own)
    raw.expect(51)


def eve_proved(scene: Scene, raw: Intruder) -> None:
    raw.key("eve+hist-01", scene.blobs["eve"], by=scene.keys["eve"])
    assert raw.expect(51).endswith(b"\1")


def eve_asked(scene: Scene, raw: Intruder) -> None:
    eve_proved(scene, raw)
    raw.request("eve+hist-01", "keyboard-interactive", string("") * 2)
    raw.expect(60)


def eve_wrong(scene: Scene, raw: Intruder) -> None:
    eve_asked(scene, raw)
    raw.answer(scene.code())
    raw.expect(60)


def asked_first(scene: Scene, raw: Intruder) -> None:
    raw.request(AT, "keyboard-interactive", string("") * 2)
    raw.expect(60)


def wrong_password(scene: Scene, raw: Intruder) -> None:
    raw.request(AT, "password", boolean(False) + string(scene.code()))
    raw.expect(51)


STATES: dict[str, Callable[[Scene, Intruder], None] | None] = {
    "kex": None, "service": None, "a probe of rita's key": probed, "a refused key": refused,
    "eve's key proved": eve_proved, "eve asked": eve_asked, "eve's code wrong": eve_wrong,
    "asked for a connect code": asked_first, "a wrong password": wrong_password,
}  # fmt: skip


class Break(RuleBasedStateMachine):
    """One intruder's try. `scene` is put in by the test."""

    scene: Scene
    raw: Intruder

    @initialize(state=st.sampled_from(sorted(STATES)))
    def arrive(self, state: str) -> None:
        self.scene.fresh()
        self.raw = self.scene.arrive(state)

    @rule(number=numbers, body=junk, data=st.data())
    def anything(self, number: int, body: bytes, data: st.DataObject) -> None:
        if number in PLAUSIBLE and data.draw(st.booleans()):
            body = data.draw(st.sampled_from(PLAUSIBLE[number]))
        self.raw.send(number, body)

    @rule(user=users, method=st.sampled_from(["none", "hostbased", "password", "publickey", "keyboard-interactive",
                                              "gssapi-with-mic", ""]), body=junk)  # fmt: skip
    def a_method(self, user: str, method: str, body: bytes) -> None:
        self.raw.request(user, method, body)

    @rule(
        user=users,
        whose=st.sampled_from(["rita", "ada", "eve", "mallory"]),
        algorithm=st.sampled_from(ALGORITHMS),
    )
    def a_probe(self, user: str, whose: str, algorithm: str) -> None:
        self.raw.key(user, self.scene.blobs[whose], algorithm)

    @rule(user=users, whose=st.sampled_from(["rita", "ada", "mallory"]), by=st.sampled_from(["mallory", "eve"]),
          algorithm=st.sampled_from(ALGORITHMS), name=st.one_of(st.none(), users))  # fmt: skip
    def a_signature(self, user: str, whose: str, by: str, algorithm: str, name: str | None) -> None:
        self.raw.key(user, self.scene.blobs[whose], algorithm, by=self.scene.keys[by], signed_name=name)

    @rule(user=users)
    def a_host_that_vouches(self, user: str) -> None:
        blob = self.scene.blobs["mallory"]
        body = (
            string("ssh-ed25519") + string(blob) + string("host.example") + string("rita") + string(bytes(83))
        )
        self.raw.request(user, "hostbased", body)

    @rule(user=users, change=st.booleans(), text=st.one_of(st.none(), st.text(max_size=20)))
    def a_password(self, user: str, change: bool, text: str | None) -> None:
        typed = self.scene.code() if text is None else text
        self.raw.request(user, "password", boolean(change) + string(typed))

    @rule(user=users)
    def a_question(self, user: str) -> None:
        self.raw.request(user, "keyboard-interactive", string("") + string("totp"))

    @rule(count=st.integers(0, 3), claimed=st.one_of(st.none(), st.sampled_from([0, 1, 2, 2**32 - 1])))
    def rita_s_code(self, count: int, claimed: int | None) -> None:
        self.raw.answer(*[self.scene.code()] * count, claimed=claimed)

    @rule()
    def eve_s_code(self) -> None:
        """Where her key is proved she gets as far as the decision, and no further: she has no grant."""
        self.raw.answer(self.scene.code(self.scene.eve))

    def teardown(self) -> None:
        if hasattr(self, "raw"):
            nobody_is_in(self.scene, self.raw)


def nobody_is_in(scene: Scene, raw: Intruder) -> None:
    assert raw.is_out(), raw.all
    assert SSHSession.objects.count() == scene.sessions


@pytest.fixture(scope="module")
def scene(shared_house: House) -> Scene:
    shared_house.grant()
    return Scene(shared_house)


@pytest.fixture(autouse=True)
def afterwards(scene: Scene) -> Iterator[None]:
    """The gateway lives on, and whoever may come in does."""
    yield
    scene.fresh()
    done = scene.house.run("echo in", timeout=60)
    assert done.stdout == b"in\n", done.stderr
    scene.house.ended(30)
    scene.sessions += 1


def test_no_way_through_the_protocol_leads_in_without_key_and_code(scene: Scene) -> None:
    class Try(Break):
        pass

    Try.scene = scene
    run_state_machine_as_test(
        Try,
        settings=settings(
            max_examples=LONG or 40, stateful_step_count=40 if LONG else 12, derandomize=not LONG, deadline=None,
            database=None, suppress_health_check=list(HealthCheck), print_blob=True,
        ),
    )  # fmt: skip


def test_every_message_number_in_every_state(scene: Scene) -> None:
    """In the suite each number meets one of the states, well formed and as junk; in a long run all of them."""
    states = sorted(STATES)
    for number in range(1, 101):
        for place, state in enumerate(states):
            if LONG or number % len(states) == place:
                scene.fresh()
                raw = scene.arrive(state)
                for body in (*PLAUSIBLE.get(number, []), b"", bytes(40)):
                    raw.send(number, body)
                nobody_is_in(scene, raw)


@pytest.mark.parametrize("before", [20, 30, 21])
@pytest.mark.parametrize("number", [2, 3, 4, 5, 6, 7, 21, 30, 50, 52, 61, 80, 90])
def test_whatever_comes_amid_the_first_key_exchange_ends_it(scene: Scene, before: int, number: int) -> None:
    """Strict key exchange: not even what is to be ignored may come. `before` which message of the exchange."""
    body = PLAUSIBLE.get(number, [string(AT) + string("ssh-connection") + string("none")])[0]
    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        Intruder(scene.house.port, {before: bytes((number,)) + body}).service()
    assert SSHSession.objects.count() == scene.sessions


@pytest.mark.parametrize("number", [5, 50, 52, 61, 80, 90, 94, 98])
def test_nothing_is_heard_before_keys_are_exchanged(scene: Scene, number: int) -> None:
    with socket.create_connection(("127.0.0.1", scene.house.port), timeout=20) as sock:
        body = PLAUSIBLE.get(number, [string(AT) + string("ssh-connection") + string("none")])[0]
        sock.sendall(b"SSH-2.0-mallory\r\n" + unencrypted(number, body))
        heard = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while said := sock.recv(65536):
                heard += said
    _, _, packets = bytes(heard).partition(b"\n")
    assert len(packets) < 6 or packets[5] == 20, "more than the gateway's own offer of keys"


def test_right_proofs_for_the_wrong_connection_are_refused(scene: Scene) -> None:
    """rita's own signature, made for another connection, with a right code to follow."""
    rita = load(scene.house.rita.key)
    other = scene.arrive("service")
    raw = scene.arrive("service")
    raw.transport.session_id, kept = other.transport.session_id, raw.transport.session_id
    raw.key(AT, scene.blobs["rita"], by=rita)
    assert raw.expect(51).endswith(b"\0")
    raw.transport.session_id = kept
    raw.answer(scene.code())
    nobody_is_in(scene, raw)
    nobody_is_in(scene, other)


def test_a_stolen_key_with_somebody_elses_codes_opens_nothing(scene: Scene) -> None:
    rita = load(scene.house.rita.key)
    raw = scene.arrive("service")
    raw.key(AT, scene.blobs["rita"], by=rita)
    assert raw.expect(51).endswith(b"\1")
    for _ in range(3):
        raw.request(AT, "keyboard-interactive", string("") * 2)
        raw.expect(60)
        raw.answer(scene.code(scene.eve))
    nobody_is_in(scene, raw)
