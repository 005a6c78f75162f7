"""Who gets in, and who doesn't, whatever they send. Valid one-time codes are at hand throughout."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Any

import pytest
from django.db import OperationalError

from breakglass import clock, queries
from breakglass.domain.refusals import Refused
from sessions.gateway import pep
from sessions.gateway.limits import Limits
from sessions.models import SSHSession
from tests.gateway import house as building
from tests.gateway.house import House, eventually
from tests.gateway.stranger import Raw, failure, load
from tests.support import sshd

FIRST = "publickey,password,keyboard-interactive"


def nobody_got_in(raw: Raw) -> None:
    """No session was opened, and a channel isn't either."""
    if raw.transport.is_active():
        with contextlib.suppress(EOFError, OSError):
            raw.open_session()
        heard = raw.hear(2)
        assert heard is None or heard[0] not in (91, 52)
    assert SSHSession.objects.count() == 0
    raw.close()


def test_key_and_code_open_a_session_that_names_both(house: House) -> None:
    house.grant()
    assert house.run("true").returncode == 0
    session = house.ended()
    assert session.person == house.rita.person
    assert session.factor.startswith("totp:")
    assert session.client_version.startswith("SSH-2.0-OpenSSH")
    assert house.rita.person.ssh_keys.get().last_used_at is not None


def test_a_key_alone_is_not_enough(house: House) -> None:
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key))
    assert failure(raw.hear()) == ("keyboard-interactive", True)
    nobody_got_in(raw)


def test_a_code_alone_is_not_enough(house: House) -> None:
    """Without a key the question is for a connect code, and the app's code is none."""
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.keyboard("rita+hist-01")
    heard = raw.hear()
    assert heard is not None and heard[0] == 60 and b"Connect code" in heard[1]
    raw.answer(house.rita.code())
    heard = raw.hear()
    assert heard is not None and heard[0] == 53 and b"connect_code_wrong" in heard[1]
    assert failure(raw.hear()) == (FIRST, False)
    raw.password("rita+hist-01", house.rita.code())
    heard = raw.hear()
    assert heard is not None and heard[0] == 53
    assert failure(raw.hear()) == (FIRST, False)
    nobody_got_in(raw)


def test_the_console_takes_keys_only(house: House) -> None:
    raw = Raw(house.port)
    raw.service()
    raw.keyboard("rita")
    assert failure(raw.hear()) == ("publickey", False)
    raw.password("rita", "guess")
    assert failure(raw.hear()) == ("publickey", False)
    raw.close()


def test_an_answer_to_a_question_that_was_not_asked_ends_the_connection(house: House) -> None:
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.answer(house.rita.code())
    assert raw.closed()
    nobody_got_in(raw)


def test_an_unasked_answer_after_the_key_step_ends_the_connection(house: House) -> None:
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key))
    failure(raw.hear())
    raw.answer(house.rita.code())
    assert raw.closed()
    nobody_got_in(raw)


def test_a_probe_with_somebodys_public_key_proves_nothing(house: House) -> None:
    """Anyone may know rita's public key and even a code of hers."""
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key), signed=False)
    heard = raw.hear()
    assert heard is not None and heard[0] == 60
    raw.keyboard("rita+hist-01")
    heard = raw.hear()
    assert heard is not None and heard[0] == 60 and b"Connect code" in heard[1]
    raw.close()
    again = Raw(house.port)
    again.service()
    again.public_key("rita+hist-01", load(house.rita.key), signed=False)
    again.hear()
    again.answer(house.rita.code())
    assert again.closed()
    nobody_got_in(again)


def test_a_signature_by_another_key_is_refused(house: House) -> None:
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key), by=load(house.ada.key))
    assert failure(raw.hear()) == (FIRST, False)
    nobody_got_in(raw)


def test_a_signature_of_another_connection_is_refused(house: House) -> None:
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key), session_id=b"\0" * 32)
    assert failure(raw.hear()) == (FIRST, False)
    nobody_got_in(raw)


def test_the_key_must_be_of_that_very_person(house: House) -> None:
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.ada.key))
    assert failure(raw.hear()) == (FIRST, False)
    nobody_got_in(raw)


def test_the_code_must_be_of_the_person_whose_key_it_was(house: House) -> None:
    house.grant()
    done = house.run("true", code=house.ada.code())
    assert done.returncode == 255
    assert b"second_factor_wrong" in done.stderr
    assert SSHSession.objects.count() == 0


def test_the_name_may_not_change_between_key_and_code(house: House) -> None:
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.public_key("ada+hist-01", load(house.ada.key))
    assert failure(raw.hear())[1]
    raw.keyboard("rita+hist-01")
    assert raw.closed()
    nobody_got_in(raw)


def test_a_removed_key_opens_nothing(house: House) -> None:
    house.grant()
    house.rita.person.ssh_keys.update(removed_at=clock.now())
    done = house.run("true")
    assert done.returncode == 255 and b"Permission denied" in done.stderr


def test_a_wrong_code_is_told_and_asked_again(house: House) -> None:
    house.grant()
    child = house.shell(code="000000")
    child.expect("second_factor_wrong")
    child.expect("One-time code: ")
    child.sendline(house.rita.code())
    child.expect("It is recorded")
    child.sendline("exit")
    assert any(
        data["refusal"] == "second_factor_wrong" for data in house.audited("people:second_factor:refused")
    )


def test_a_code_counts_once(house: House) -> None:
    house.grant()
    code = house.rita.code()
    assert house.run("true", code=code).returncode == 0
    done = house.run("true", code=code)
    assert done.returncode == 255 and b"second_factor_used" in done.stderr


def test_no_other_message_before_authentication_leads_anywhere(house: House) -> None:
    house.grant()
    body = {
        80: (string_("tcpip-forward"), b"\1", string_(""), u32_(0)),
        90: (string_("session"), u32_(0), u32_(1 << 20), u32_(32768)),
    }
    for number in (1, 2, 3, 80, 90, 91, 93, 94, 96, 97, 98, 99, 100, 192):
        for early in (True, False):
            raw = Raw(house.port)
            if not early:
                raw.service()
                raw.public_key("rita+hist-01", load(house.rita.key))
                raw.hear()
            raw.send(number, *body.get(number, (u32_(0), u32_(0), u32_(0), u32_(0))))
            nobody_got_in(raw)


def string_(text: str) -> bytes:
    return struct.pack(">I", len(text)) + text.encode()


def u32_(number: int) -> bytes:
    return struct.pack(">I", number)


UNREADABLE = [
    "rita+hist-01,x",
    "rita:hist-01",
    "rita%hist-01",
    "rita+hist-01\0",
    " rita+hist-01",
    "rita+hist-01 ",
    "RITA+hist-01",
    "rita+hist-01\n",
    "r\u0456ta+hist-01",
    "rita+h\u0456st-01",
    "rita+",
    "+hist-01",
    "rita+@hist-01",
    "rita+a b@hist-01",
    "rita+hist-01@@",
    "",
    "rita++hist-01",
    "rita+../hist-01",
    "rita+root@hist-01@x",
]


def test_a_name_that_cannot_be_read_is_refused_before_anything_is_looked_up(house: House) -> None:
    house.grant()
    for name in UNREADABLE:
        raw = Raw(house.port)
        raw.service()
        raw.public_key(name, load(house.rita.key))
        heard = raw.hear()
        assert heard is not None and heard[0] == 53 and b"bad_name" in heard[1], name
        assert raw.closed()
        nobody_got_in(raw)


def test_wrong_codes_are_throttled_for_that_address_only(house: House) -> None:
    house.grant()
    assert house.gateway is not None
    for _ in range(2):
        house.run("true", code="000000")
        house.rita.code()
    done = house.run("true", code="000000")
    assert b"throttled" in done.stderr
    now = clock.monotonic()
    assert house.gateway.throttle.wait("rita", "127.0.0.1", now) > 0
    assert house.gateway.throttle.wait("rita", "192.0.2.7", now) == 0
    assert house.gateway.throttle.wait("ada", "127.0.0.1", now) == 0


def test_an_oversized_packet_ends_the_connection_before_it_is_stored(house: House) -> None:
    sock = socket.create_connection(("127.0.0.1", house.port), timeout=30)
    sock.recv(100)
    sock.sendall(b"SSH-2.0-test\r\n" + struct.pack(">IB", 512 * 1024 * 1024, 4) + b"x" * 100_000)
    received = 0
    try:
        while chunk := sock.recv(65536):
            received += len(chunk)
    except ConnectionResetError:
        pass
    assert received < 10_000


def test_an_endless_version_line_ends_the_connection(house: House) -> None:
    sock = socket.create_connection(("127.0.0.1", house.port), timeout=30)
    with pytest.raises((BrokenPipeError, ConnectionResetError, ConnectionAbortedError)):
        for _ in range(1000):
            sock.sendall(b"x" * 10_000)
            time.sleep(0.001)


# Long enough for a key exchange on a busy machine.
GRACE = 2.5


class TestGrace:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(grace=GRACE, strangers_per_address=5, rate_per_address=1000, burst_per_address=1000)

    @pytest.mark.parametrize("said", [b"", b"SSH-2.0-slow\r\n"])
    def test_who_says_nothing_is_turned_away(self, house: House, said: bytes) -> None:
        sock = socket.create_connection(("127.0.0.1", house.port), timeout=30)
        sock.sendall(said)
        started = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(65536):
                pass
        assert time.monotonic() - started > GRACE - 0.2

    def test_after_key_exchange_too(self, house: House) -> None:
        raw = Raw(house.port)
        assert raw.closed()

    def test_strangers_on_all_places_keep_nobody_out(self, house: House) -> None:
        house.grant()
        held = [socket.create_connection(("127.0.0.1", house.port), timeout=30) for _ in range(8)]
        for sock in held:
            sock.sendall(b"SSH-2.0-slow\r\n")
            assert sock.recv(3) == b"SSH"
        assert house.run("true").returncode == 0

    def test_proving_a_key_gives_time_to_type_the_code(self, house: House) -> None:
        house.grant()
        command = house.ssh("echo in-$((1+1))")
        import pexpect

        client = pexpect.spawn(command[0], command[1:], timeout=30, encoding="utf-8")
        client.expect("One-time code: ")
        time.sleep(GRACE + 0.5)
        client.sendline(house.rita.code())
        client.expect("in-2")


def test_a_weak_or_old_kind_of_key_is_not_taken(house: House) -> None:
    house.grant()
    path = house.dir / "ecdsa"
    line = sshd.make_key(path, "ecdsa")
    from breakglass.services import keys

    keys.register_known(house.rita.person, line, "ecdsa", clock.now())
    assert house.run("true", key=path).returncode == 0
    rsa = house.dir / "rsa"
    line = sshd.make_key(rsa, "rsa", 3072)
    keys.register_known(house.rita.person, line, "rsa", clock.now())
    assert house.run("true", key=rsa).returncode == 0
    done = house.run("true", key=rsa, options=("-o", "PubkeyAcceptedAlgorithms=ssh-rsa"))
    assert done.returncode == 255


def test_two_people_have_two_sessions_and_one_cannot_use_the_others_grant(house: House) -> None:
    house.grant()
    ben = building.human(house.dir, "ben", ["responders"])
    (house.dir / "code").write_text(ben.code())
    done = house.run("true", user="ben+hist-01", key=ben.key, code=ben.code())
    assert b"no_grant" in done.stderr and done.returncode == 255


def test_wrong_signatures_are_in_the_trail_for_people_and_not_for_made_up_names(house: House) -> None:
    for name in ("nobody-here", "rita"):
        raw = Raw(house.port)
        raw.service()
        raw.public_key(f"{name}+hist-01", load(house.rita.key), by=load(house.ada.key))
        failure(raw.hear())
        raw.close()
    eventually(lambda: house.audited("gateway:access:refused"), "it is written down")
    (row,) = house.audited("gateway:access:refused")
    assert row["refusal"] == "bad_credentials" and row["address"] == "127.0.0.1"


def test_no_answer_to_a_wrong_proof_waits_for_the_trail(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a row to write for people only: by the time of an answer, of this one or of the next, it could be told
    who is one."""
    asked: list[str] = []
    real = pep.write_refusal

    def note(refused: Refused, **named: Any) -> None:
        asked.append(threading.current_thread().name)
        real(refused, **named)

    monkeypatch.setattr(pep, "write_refusal", note)
    raw = Raw(house.port)
    raw.service()
    for _ in range(3):
        raw.public_key("rita+hist-01", load(house.rita.key), by=load(house.ada.key))
        assert failure(raw.hear()) == (FIRST, False)
    assert not asked, "nothing is written while somebody waits for an answer"
    raw.close()
    eventually(lambda: len(house.audited("gateway:access:refused")) == 3, "every try is written down")
    assert asked == ["clerk"] * 3


def test_wrong_tries_before_the_right_one_are_in_the_trail_while_the_person_is_inside(house: House) -> None:
    house.grant()
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key), by=load(house.ada.key))
    assert failure(raw.hear()) == (FIRST, False)
    raw.public_key("rita+hist-01", load(house.rita.key))
    assert failure(raw.hear()) == ("keyboard-interactive", True)
    raw.keyboard("rita+hist-01")
    assert (raw.hear() or (0,))[0] == 60
    raw.answer(house.rita.code())
    eventually(lambda: house.audited("gateway:access:refused"), "the wrong try is written down")
    assert raw.transport.is_active()
    raw.close()
    house.ended()


@pytest.mark.parametrize("signed", [False, True])
def test_while_the_database_is_away_a_key_is_told_so(
    house: House, monkeypatch: pytest.MonkeyPatch, signed: bool
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr(queries, "person_with_key", away)
    raw = Raw(house.port)
    raw.service()
    raw.public_key("rita+hist-01", load(house.rita.key), signed=signed)
    heard = raw.hear()
    assert heard is not None and heard[0] == 53 and b"[database_unavailable]" in heard[1]
    assert raw.closed()
    nobody_got_in(raw)
