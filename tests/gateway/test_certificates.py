"""User certificates: the broker's good ones get in without a prompt, everything that looks like one stays out.

Stock OpenSSH shows them; stock ssh-keygen makes the bad ones, most with the broker's own CA key: each is good but for
one thing.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from breakglass import clock
from breakglass.models import Grant, PersonCertificate
from breakglass.services import certificates, grants, keys, vault
from breakglass.services.ssh_wire import string, u32, u64
from sessions.gateway import certificates as shown
from sessions.models import SSHSession
from tests.gateway import house as building
from tests.gateway.house import House
from tests.support import sshd
from tests.support.agent import PIN, TOUCH, Agent, SoftKey
from tests.support.needs import requires

pytestmark = requires("ssh", "sshd", "ssh-keygen")
Done = subprocess.CompletedProcess[bytes]


@dataclass
class Holder:
    """A key that isn't registered, and how to show certificates of it."""

    house: House
    key: Path

    @property
    def line(self) -> str:
        return Path(f"{self.key}.pub").read_text()

    def issue(self, grant: Grant, line: str = "", source_address: str = "") -> PersonCertificate:
        rita = self.house.rita
        made = certificates.issue(
            rita.person, grant.pk, line or self.line, rita.code(), clock.now(), source_address=source_address
        )
        self.cert.write_text(made.line + "\n")
        return made.row

    @property
    def cert(self) -> Path:
        return Path(f"{self.key}-cert.pub")

    def forge(self, ca: Path, serial: int, *words: str, name: str = "rita", line: str = "") -> None:
        """A certificate of this key by ssh-keygen."""
        public = Path(f"{self.key}.pub")
        whole = line or self.line
        public.write_text(whole)
        names = ["-n", name] if name else []
        subprocess.run(
            ["ssh-keygen", "-q", "-s", ca, "-I", "forged", "-z", str(serial), *names, *words, public],
            check=True,
        )

    def show(self, *command: str, user: str = "rita+hist-01", options: tuple[str, ...] = ()) -> Done:
        """Stock ssh with the certificate; it may ask nothing."""
        quiet = ("-o", f"CertificateFile={self.cert}", "-o", "BatchMode=yes", *options)
        return self.house.run(*command or ("true",), user=user, key=self.key, options=quiet, code="unused")


@pytest.fixture
def grant(house: House) -> Grant:
    return house.grant()


@pytest.fixture
def holder(house: House) -> Holder:
    sshd.make_key(house.dir / "mine")
    return Holder(house, house.dir / "mine")


@pytest.fixture
def ca(house: House) -> Path:
    """The broker's own CA for people, as nobody outside has it."""
    private = Ed25519PrivateKey.from_private_bytes(vault.derive(certificates.PURPOSE))
    path = house.dir / "people-ca"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_good_one_gets_in_without_a_prompt(house: House, grant: Grant, kind: str) -> None:
    sshd.make_key(house.dir / "mine", kind, 3072 if kind == "rsa" else None)
    holder = Holder(house, house.dir / "mine")
    row = holder.issue(grant, source_address="127.0.0.1")
    done = holder.show("echo", "in")
    assert (done.returncode, done.stdout) == (0, b"in\n"), done.stderr
    session = house.ended()
    assert (session.grant, session.person) == (grant, house.rita.person)
    assert session.factor == f"certificate:{row.serial}"
    row.refresh_from_db()
    assert row.last_used_at is not None
    (opened,) = house.audited("gateway:session:opened")
    assert opened["factor"] == session.factor


def test_the_session_runs_under_its_own_grant_and_no_other(house: House, holder: Holder) -> None:
    """Two grants overlap; without a certificate the one with the later end would be taken."""
    short = house.grant(minutes=10)
    house.ada = building.human(house.dir, "ben", ["ot-leads"])  # who approves next, with a code of his own
    long = house.grant(minutes=60)
    holder.issue(short)
    assert holder.show().returncode == 0
    assert house.ended().grant == short
    holder.issue(long)
    grants.release(long.pk, house.rita.person, clock.now())
    done = holder.show()
    assert done.returncode == 255 and b"grant_ended" in done.stderr
    assert SSHSession.objects.count() == 1


def test_through_a_jump_it_gets_in_too_and_to_no_console(house: House, grant: Grant, holder: Holder) -> None:
    holder.issue(grant)
    assert (done := holder.show("status", user="rita")).returncode == 255
    assert b"not_offered" in done.stderr
    from sessions.gateway.hostkey import public_line

    with (house.dir / "known_hosts").open("a") as lines:
        lines.write(f"hist-01 {public_line('hist-01')}\n")
    outer = " ".join(holder_words(holder))
    done = subprocess.run(
        ["ssh", "-F", "none", "-o", f"ProxyCommand={outer}", "-o", f"UserKnownHostsFile={house.dir}/known_hosts",
         "-o", "BatchMode=yes", f"{house.sshd.login}@hist-01", "echo", "through"],
        capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stdout == b"through\n", done.stderr
    assert house.ended().grant == grant


def holder_words(holder: Holder) -> list[str]:
    options = ("-o", f"CertificateFile={holder.cert}", "-o", "BatchMode=yes", "-W", "hist-01:22")
    return holder.house.ssh(user="rita", key=holder.key, options=options)


def test_a_revoked_one_opens_nothing_and_ends_what_it_opened(
    house: House, grant: Grant, holder: Holder
) -> None:
    row = holder.issue(grant)
    options = ("-o", f"CertificateFile={holder.cert}", "-o", "BatchMode=yes")
    words = house.ssh("echo up; sleep 60", key=holder.key, options=options)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"up\n"
        certificates.revoke(house.rita.person, row.serial, clock.now())
        assert client.wait(60) == 255
    assert house.ended().end_reason == "revoked"
    done = holder.show()
    assert done.returncode == 255 and b"it was revoked" in done.stderr
    assert any(row["refusal"] == "certificate_refused" for row in house.audited("gateway:access:refused"))


def bad_ones(holder: Holder, ca: Path, serial: int) -> Iterator[tuple[str, bytes]]:
    """Each is made, and what ssh must say of it is given; b"" where a stranger learns nothing."""
    house = holder.house
    told = b"certificate_refused"
    forge = holder.forge
    other = house.dir / "other-ca"
    sshd.make_key(other)
    forge(other, serial)
    yield "by another CA", b""
    forge(house.ada.key, serial)
    yield "by a person's key", b""
    forge(ca, serial, "-h")
    yield "a host certificate", b""
    forge(ca, serial, "-V", "-2h:-1h")
    yield "over", told
    forge(ca, serial, "-V", "+1h:+2h")
    yield "not valid yet", told
    forge(ca, serial, name="ada")
    yield "for another person", b""
    forge(ca, serial, name="")
    yield "for everybody", b""
    forge(ca, serial, name="rita*")
    yield "for a pattern", b""
    forge(ca, serial + 1)
    yield "a serial that isn't in the books", b""
    forge(ca, serial, "-O", "critical:grant@example.org=all")
    yield "an unknown critical option", told
    forge(ca, serial, "-O", "force-command=true")
    yield "a forced command", told
    forge(ca, serial, "-O", "source-address=192.0.2.0/24")
    yield "from another address", told
    forge(ca, serial, "-O", "verify-required")
    yield "a key that can't ask for its PIN", b"key_unproven"


def test_whatever_is_wrong_with_one_keeps_it_out(
    house: House, grant: Grant, holder: Holder, ca: Path
) -> None:
    serial = holder.issue(grant).serial
    assert holder.show().returncode == 0  # the very key and serial, in good order
    house.ended()
    for what, said in bad_ones(holder, ca, serial):
        assert house.gateway is not None
        house.gateway.throttle.right("rita", "127.0.0.1")
        done = holder.show()
        assert done.returncode == 255 and b"Permission denied (publickey" in done.stderr, (what, done.stderr)
        assert said in done.stderr, (what, done.stderr)
        assert said or b"certificate" not in done.stderr, (what, done.stderr)
    assert SSHSession.objects.count() == 1
    holder.forge(ca, serial, "-O", "source-address=192.0.2.0/24,127.0.0.0/8")
    assert holder.show().returncode == 0


def test_one_of_a_user_certificate_or_of_another_key_keeps_out(
    house: House, grant: Grant, holder: Holder, ca: Path
) -> None:
    """The key of a good certificate signs another one; a good serial is put on another key, on a weak one."""
    serial = holder.issue(grant).serial
    for kind, bits in (("ed25519", None), ("rsa", 2048)):
        path = house.dir / f"another-{kind}"
        sshd.make_key(path, kind, bits)
        another = Holder(house, path)
        another.forge(ca, serial)
        assert another.show().returncode == 255
    PersonCertificate.objects.filter(pk=serial).update(
        key_fingerprint=keys.fingerprint(base64.b64decode(another.line.split()[1])), key_type="ssh-rsa"
    )
    assert another.show().returncode == 255, "a weak key, with everything else in order"
    signed = Holder(house, house.dir / "another-ed25519")
    signed.forge(holder.key, serial)
    assert signed.show().returncode == 255
    assert SSHSession.objects.count() == 0


def test_it_doesnt_lead_to_other_machines_or_people(house: House, grant: Grant, holder: Holder) -> None:
    holder.issue(grant)
    for user in ("ada+hist-01", "rita+hist-02"):
        done = holder.show(user=user)
        assert done.returncode == 255 and b"Permission denied (publickey" in done.stderr, done.stderr
    assert SSHSession.objects.count() == 0


def test_one_of_a_removed_key_opens_nothing(house: House, grant: Grant) -> None:
    holder = Holder(house, house.rita.key)
    holder.issue(grant)
    assert holder.show().returncode == 0
    keys.remove(house.rita.person, house.rita.person.ssh_keys.get().pk, clock.now())
    done = holder.show()
    assert done.returncode == 255 and b"removed" in done.stderr


def test_one_of_a_security_key_gets_in_with_a_touch(house: House, grant: Grant) -> None:
    soft = SoftKey(counter=7)
    key = house.dir / "soft"
    Path(f"{key}.pub").write_text(soft.line + "\n")
    holder = Holder(house, key)
    holder.issue(grant)
    with Agent(house.dir / "agent", soft) as agent:
        words = [word.replace("IdentityAgent=none", f"IdentityAgent={agent.path}") for word in house.ssh(
            "echo", "in", key=Path(f"{key}.pub"), options=("-o", f"CertificateFile={holder.cert}", "-o", "BatchMode=yes"))]  # fmt: skip

        def show() -> Done:
            assert house.gateway is not None
            house.gateway.throttle.right("rita", "127.0.0.1")
            return subprocess.run(
                words, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL
            )

        assert (done := show()).stdout == b"in\n", done.stderr
        soft.flags = 0
        assert (done := show()).returncode == 255
        assert b"key_unproven" in done.stderr
        keys.register_known(house.rita.person, soft.line, "soft", clock.now())
        house.rita.person.ssh_keys.update(verify_required=True)
        holder.issue(grant, soft.line)
        soft.flags = TOUCH
        assert show().returncode == 255
        soft.flags = TOUCH | PIN
        assert (done := show()).stdout == b"in\n", done.stderr


# --- as bytes: what no tool makes


def body(
    *, kind: int = 1, key: bytes = bytes(32), ca: bytes = b"", critical: bytes = b"", tail: bytes = b""
) -> bytes:
    return b"".join(
        (
            string("ssh-ed25519-cert-v01@openssh.com"), string(b"nonce"), string(key), u64(1), u32(kind), string(b"id"),
            string(string("rita")), u64(0), u64(1 << 40), string(critical), string(b""), string(b""), string(ca), tail,
        )
    )  # fmt: skip


def test_a_certificate_as_ca_is_none_of_ours() -> None:
    """Signed with the right key, but shown with a certificate of it in place of the key."""
    private = Ed25519PrivateKey.from_private_bytes(vault.derive(certificates.PURPOSE))
    pinned = certificates.ca_blob()

    def signed(ca: bytes, kind: int = 1) -> shown.Certificate:
        whole = body(ca=ca, kind=kind)
        signature = string("ssh-ed25519") + string(private.sign(whole))
        return shown.parse(whole + string(signature))

    assert shown.is_signed_by(signed(pinned), pinned)
    assert not shown.is_signed_by(signed(body(ca=pinned, tail=string(b""))), pinned)
    assert not shown.is_signed_by(signed(b""), pinned)
    assert not shown.is_signed_by(signed(pinned, kind=2), pinned), "a host's"
    assert not shown.is_signed_by(signed(pinned, kind=0), pinned)


def test_one_byte_changed_makes_it_worthless() -> None:
    """Or unreadable; but for the nonce nothing is without meaning, and the nonce is signed as well."""
    private, pinned = (
        Ed25519PrivateKey.from_private_bytes(vault.derive(certificates.PURPOSE)),
        certificates.ca_blob(),
    )
    whole = body(ca=pinned, critical=string("source-address") + string(string("192.0.2.7")))
    good = whole + string(string("ssh-ed25519") + string(private.sign(whole)))
    assert shown.is_signed_by(shown.parse(good), pinned)
    for at in range(len(good)):
        changed = bytearray(good)
        changed[at] ^= 1
        try:
            accepted = shown.is_signed_by(shown.parse(bytes(changed)), pinned)
        except ValueError:
            continue
        assert not accepted, at


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        body(),
        body(tail=string(b"")) + b"x",
        body(critical=string("a"), tail=string(b"")),
        body(critical=(string("a") + string(b"")) * 2, tail=string(b"")),
        body(critical=string("b") + string(b"") + string("a") + string(b""), tail=string(b"")),
        string("ssh-dss-cert-v01@openssh.com") + body()[36:],
        b"\xff\xff\xff\xff",
    ],
    ids=["empty", "no signature", "more", "half an option", "twice", "unsorted", "dss", "huge"],
)
def test_what_is_malformed_is_no_certificate(blob: bytes) -> None:
    with pytest.raises(ValueError):
        shown.parse(blob)
