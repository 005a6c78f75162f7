"""A whole house for gateway tests: people with keys, a real sshd as asset, a grant, and a gateway in this process."""

from __future__ import annotations

import base64
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pexpect
from django.conf import settings
from django.db import connections
from django_otp.oath import TOTP

from breakglass import clock
from breakglass.models import (
    AccessRequest,
    Asset,
    AuditEvent,
    Grant,
    Incident,
    Person,
    PlaybookVersion,
    TotpFactor,
)
from breakglass.services import approvals as approving
from breakglass.services import (
    assets,
    credentials,
    incidents,
    keys,
    people,
    playbooks,
    requests,
    second_factor,
)
from playbooks.schema import PlaybookSpec
from sessions.gateway.hostkey import public_line
from sessions.gateway.limits import Limits
from sessions.gateway.server import Gateway
from sessions.models import SSHSession
from tests.support import sshd

PASSWORD = "correct horse battery staple"


def spec(**changes: Any) -> PlaybookSpec:
    """A playbook that a test may bend."""
    plain: dict[str, Any] = {
        "schema_version": 1,
        "slug": "hist-test",
        "title": "Historian test",
        "purpose": "Get the historian of the tests answering again",
        "owner": "OT data services",
        "asset_class": "historian",
        "risk": "low",
        "assets": ["hist-01"],
        "logins": ["root"],
        "channels": ["shell", "exec"],
        "duration": {"default_minutes": 30, "max_minutes": 60},
        "clock": {"starts": "approval"},
        "approvers": {"groups": ["ot-leads"], "count": 1},
        "requesters": {"groups": ["responders"]},
        "idle_minutes": 10,
        "review_due_hours": 24,
        "standards": ["NIST CSF 2.0 PR.AA-03"],
        "runbook": "## Steps\n\nLook, then act, then write down what you did.\n",
    }
    return PlaybookSpec.from_plain(plain | changes)


@dataclass
class Human:
    """A person of the tests, with a key file and the secret of an authenticator app."""

    person: Person
    key: Path
    secret: str
    _skip: int = 0

    def code(self) -> str:
        """A code that wasn't used yet. A used one is made usable again by winding the device back: tests are quick."""
        TotpFactor.objects.filter(user=self.person).update(last_step=-1, failures=0, blocked_until=None)
        totp = TOTP(base64.b32decode(self.secret), step=second_factor.STEP)
        totp.time = time.time()
        return f"{totp.token():06d}"


@dataclass
class House:
    """The pieces, and the verbs that tests use."""

    dir: Path
    asset: Asset
    sshd: sshd.Sshd
    rita: Human
    ada: Human
    incident: Incident
    limits: Limits = field(default_factory=lambda: Limits(rate_per_address=1000, burst_per_address=1000))
    gateway: Gateway | None = None
    elsewhere: int = 0
    _thread: threading.Thread | None = None

    # Grants ----------------------------------------------------------------------------------------------

    def grant(self, *, minutes: int = 30, **changes: Any) -> Grant:
        """A grant for rita, asked for and approved as people do."""
        now = clock.now()
        playbooks.publish([spec(**changes)], now)
        form = requests.SubmitForm(
            playbook=changes.get("slug", "hist-test"),
            incident_id=self.incident.pk,
            assets=("hist-01",),
            login=None,
            minutes=minutes,
            reason="trends stopped at 02:10",
        )
        request = requests.submit(self.rita.person, form, now)
        approving.approve(request.pk, self.ada.person, self.ada.code(), "go on", now)
        return Grant.objects.get(request=request)

    def ends_in(self, grant: Grant, seconds: float) -> datetime:
        """Move the grant's end, as if it had been given earlier."""
        end = clock.now() + timedelta(seconds=seconds)
        Grant.objects.filter(pk=grant.pk).update(ends_at=end)
        return end

    # The gateway -----------------------------------------------------------------------------------------

    def start(self) -> None:
        self.gateway = Gateway("127.0.0.1", 0, "test-gateway", self.limits)
        self._thread = threading.Thread(target=self._serve, name="gateway", daemon=True)
        self._thread.start()
        (self.dir / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public_line()}\n")

    def _serve(self) -> None:
        assert self.gateway is not None
        try:
            self.gateway.run()
        finally:
            connections.close_all()

    def stop(self) -> None:
        if self.gateway is not None and self._thread is not None:
            self.gateway.stop()
            self._thread.join(30)
            assert not self._thread.is_alive(), "the gateway did not drain"
            self.gateway = None

    @property
    def port(self) -> int:
        """Of the gateway in this process, or of one elsewhere."""
        return self.gateway.port if self.gateway is not None else self.elsewhere

    # Clients ---------------------------------------------------------------------------------------------

    def ssh(
        self, *words: str, user: str = "rita+hist-01", key: Path | None = None, options: tuple[str, ...] = ()
    ) -> list[str]:
        """The command line of a stock OpenSSH client."""
        return [
            "ssh", "-F", "none", "-p", str(self.port),
            "-i", str(key or self.rita.key),
            "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
            "-o", f"UserKnownHostsFile={self.dir}/known_hosts", "-o", "StrictHostKeyChecking=yes",
            "-o", "PreferredAuthentications=publickey,keyboard-interactive", "-o", "NumberOfPasswordPrompts=3",
            *options, "-l", user, "127.0.0.1", *words,
        ]  # fmt: skip

    def askpass(self, code: str | None = None) -> dict[str, str]:
        """An environment in which ssh takes the one-time code from a file, so that its own streams stay free."""
        program = self.dir / "askpass"
        program.write_text(f"#!/bin/sh\nexec cat {self.dir}/code\n")
        program.chmod(0o700)
        (self.dir / "code").write_text((code or self.rita.code()) + "\n")
        return os.environ | {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "LC_ALL": "C.UTF-8"}

    def run(
        self, *words: str, code: str | None = None, stdin: bytes | None = b"", timeout: float = 60,
        user: str = "rita+hist-01", key: Path | None = None, options: tuple[str, ...] = (),
    ) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        """A command through the gateway by stock ssh, its streams as bytes."""
        return subprocess.run(
            self.ssh(*words, user=user, key=key, options=options),
            input=stdin, capture_output=True, env=self.askpass(code), timeout=timeout, check=False,
        )  # fmt: skip

    def popen(
        self, *words: str, user: str = "rita+hist-01", options: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        return self.started(self.ssh(*words, user=user, options=options))

    def started(self, command: list[str]) -> subprocess.Popen[bytes]:
        """That command, with a code at hand and its streams in pipes."""
        return subprocess.Popen(
            command, env=self.askpass(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def shell(self, *, user: str = "rita+hist-01", rows: int = 33, cols: int = 111, options: tuple[str, ...] = (),
              code: str | None = None) -> pexpect.spawn[str]:  # fmt: skip
        """An interactive shell by stock ssh in a terminal of that size, logged in."""
        command = self.ssh(user=user, options=options)
        child = pexpect.spawn(command[0], command[1:], dimensions=(rows, cols), timeout=30, encoding="utf-8")
        child.expect("One-time code: ")
        child.sendline(code or self.rita.code())
        return child

    def prompt(self, **options: Any) -> pexpect.spawn[str]:
        """A shell that has shown that it answers."""
        child = self.shell(**options)
        child.expect("Breakglass session")
        child.sendline("PS1='ready> '; echo up-$((40+2))")
        child.expect("up-42")
        child.expect("ready> ")
        return child

    # What was written ------------------------------------------------------------------------------------

    def session(self) -> SSHSession:
        return SSHSession.objects.latest("number")

    def ended(self, seconds: float = 30) -> SSHSession:
        """The latest session once its end is in the books."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            session = SSHSession.objects.order_by("-number").first()
            if session is not None and session.state == "ended":
                return session
            time.sleep(0.02)
        raise AssertionError(f"session {self.session()} is {self.session().state}")

    def master(self) -> tuple[subprocess.Popen[bytes], Path]:
        """A shared connection of stock ssh, ready for others at its control socket."""
        control = self.dir / "cm"
        master = self.popen("-N", options=("-M", "-S", str(control)))
        eventually(control.exists, f"{control} is there")
        return master, control

    def recording(self, session: SSHSession) -> str:
        path = settings.BREAKGLASS.data_dir / "recordings" / "open" / f"{session.pk}.cast"
        return str(path.read_text(errors="replace"))

    def audited(self, tag: str) -> list[dict[str, Any]]:
        return [row.data for row in AuditEvent.objects.filter(tag=tag).order_by("seq")]


def eventually(true: Callable[[], Any], what: str = "it is so", seconds: float = 30) -> None:
    """Returns as soon as `true()` is; an AssertionError when it isn't within `seconds`, which a busy machine may need."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def read_until(stream: IO[bytes], words: bytes, seconds: float = 30) -> bytes:
    """What a process's pipe gives up to and with `words`; an AssertionError when they don't come."""
    until, seen = time.monotonic() + seconds, b""
    while words not in seen:
        ready, _, _ = select.select([stream], [], [], max(0.0, until - time.monotonic()))
        piece = os.read(stream.fileno(), 65536) if ready else b""
        assert piece, f"{words!r} didn't come: {seen[-500:]!r}"
        seen += piece
    return seen


def human(directory: Path, name: str, groups: list[str]) -> Human:
    now = clock.now()
    person = people.create(
        username=name,
        full_name=name.title(),
        email=f"{name}@example.org",
        password=PASSWORD,
        groups=groups,
        by=None,
        now=now,
    )
    secret = base64.b32encode(os.urandom(20)).decode()
    second_factor.enrol_known(person, secret, now)
    key = directory / f"key-{name}"
    keys.register_known(person, sshd.make_key(key), "test key", now)
    return Human(person, key, secret)


def build(directory: Path) -> House:
    """The house with rita (responder), ada (approver) and the asset hist-01, without grant and gateway."""
    now = clock.now()
    server = sshd.start(directory / "sshd", ca=credentials.user_ca_public_key())
    try:
        return _furnish(directory, server, now)
    except BaseException:
        server.stop()
        raise


def _furnish(directory: Path, server: sshd.Sshd, now: datetime) -> House:
    asset = assets.register(
        assets.AssetForm(
            name="hist-01", title="Historian", kind="historian", host="127.0.0.1", port=server.port,
            host_keys=[server.host_key], owner="OT data services", logins=[assets.LoginForm(server.login, "certificate")],
        ),
        by=None, now=now,
    )  # fmt: skip
    rita = human(directory, "rita", ["responders"])
    ada = human(directory, "ada", ["ot-leads"])
    incident = incidents.open_incident(rita.person, "Historian down", now)
    return House(directory, asset, server, rita, ada, incident)


__all__ = ["AccessRequest", "House", "PlaybookVersion", "build", "human", "spec"]
