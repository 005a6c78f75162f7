"""A stage set by the real services: people of each role, machines, playbooks, and access in each of its states.

Time is an argument, so that codes can be used one after another without waiting for them.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from breakglass.models import AccessRequest, Asset, Grant, Incident, Person, TotpFactor
from breakglass.services import (
    approvals,
    assets,
    grants,
    incidents,
    locks,
    playbooks,
    requests,
    second_factor,
)
from breakglass.services.assets import AssetForm, LoginForm
from breakglass.services.keys import register_known
from breakglass.services.requests import SubmitForm
from playbooks.loader import load_catalog
from sessions import services
from sessions.models import FileOperation, Recording, Review, SSHSession
from sessions.recording.kept import KeptWriter
from sessions.recording.recorder import Recorder
from sessions.services import ChannelFacts, FileFacts, OpenForm, Totals, findings
from sessions.services.recordings import recording_key, store
from sessions.states import EndReason
from tests.support import cast

MACHINES = {
    "hist-01": ("Process historian, line 1", "historian", ["operator", "histadmin"]),
    "hmi-02": ("HMI server pair, line 2", "hmi", ["operator"]),
    "eng-ws-03": ("Engineering workstation", "engineering", ["engineer"]),
    "bms-04": ("Building management server", "building", ["operator"]),
}


def person(username: str) -> Person:
    return Person.objects.get(username=username)


def fresh_code(username: str, now: datetime) -> str:
    """A code that counts now: earlier uses are forgotten, as half a minute of waiting would do."""
    TotpFactor.objects.filter(user__username=username).update(last_step=-1, failures=0, blocked_until=None)
    return second_factor.current_code(person(username), now)


def number(request_id: UUID) -> str:
    """What the requester tells the approver."""
    return str(AccessRequest.objects.get(pk=request_id).match_number)


def set_machines(now: datetime) -> None:
    for number, (name, (title, kind, logins)) in enumerate(MACHINES.items()):
        key = hashlib.sha256(name.encode()).digest()
        blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + key
        assets.register(
            AssetForm(
                name=name,
                title=title,
                kind=kind,
                host="127.0.0.1",
                port=22101 + number,
                host_keys=[f"ssh-ed25519 {base64.b64encode(blob).decode()}"],
                logins=[LoginForm(login, "certificate") for login in logins],
                owner="OT data services",
            ),
            by=None,
            now=now,
        )
    playbooks.publish([loaded.spec for loaded in load_catalog()], now)


def set_key(username: str, now: datetime) -> None:
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00 " + hashlib.sha256(b"key" + username.encode()).digest()
    register_known(person(username), f"ssh-ed25519 {base64.b64encode(blob).decode()} laptop", "laptop", now)


def open_incident(title: str, now: datetime, by: str = "rita") -> Incident:
    return incidents.open_incident(person(by), title, now)


def ask(
    username: str,
    playbook: str,
    incident: Incident,
    now: datetime,
    *,
    minutes: int | None = None,
    reason: str = "",
) -> AccessRequest:
    version_assets = {"hmi-failover": "hmi-02", "building-management-recovery": "bms-04"}
    name = version_assets.get(playbook, "eng-ws-03" if playbook.startswith("eng") else "hist-01")
    plea = SubmitForm(
        playbook=playbook,
        incident_id=incident.id,
        assets=(name,),
        reason=reason or "Trends stopped at 02:10; look at the service, restart it once.",
        minutes=minutes,
    )
    return requests.submit(person(username), plea, now)


def approve(
    request: AccessRequest, username: str, now: datetime, comment: str = "Go ahead."
) -> AccessRequest:
    code = fresh_code(username, now)
    return approvals.approve(request.id, person(username), code, comment, now)


def deny(request: AccessRequest, username: str, now: datetime, comment: str) -> AccessRequest:
    return approvals.deny(request.id, person(username), fresh_code(username, now), comment, now)


def grant_of(request: AccessRequest) -> Grant:
    return Grant.objects.get(request=request)


@dataclass
class Tick:
    """A clock for the recorder that goes as fast as the story needs."""

    at: float = 0.0

    def monotonic(self) -> float:
        return self.at


def open_session(
    grant: Grant, now: datetime, *, asset: str = "hist-01", login: str = "operator"
) -> SSHSession:
    form = OpenForm(
        id=uuid4(),
        grant_id=grant.id,
        person_id=grant.person_id,
        asset_id=Asset.objects.get(name=asset).id,
        login=login,
        decision_id=uuid4(),
        client_address="127.0.0.1",
        client_version="SSH-2.0-OpenSSH_9.2p1",
        factor="key SHA256:x9 and totp",
        gateway_id="gw-1",
    )
    session = services.open_session(form, now)
    services.mark_live(
        session.id, "127.0.0.1:22101", "SHA256:Qm9vk8sXW1b2Yc3Zd4Ae5Bf6Cg7Dh8Ei9Fj0Gk1Hl2", now
    )
    return session


def record(session: SSHSession, screen: list[tuple[float, str]]) -> None:
    """Write a recording as the gateway would: (seconds, text) each."""
    tick = Tick()
    store().prepare()
    header = {
        "width": 80,
        "height": 24,
        "timestamp": int(session.opened_at.timestamp()),
        "title": session.label,
    }
    recorder = Recorder(store().open_path(session.id), header, clock=tick)
    for at, text in screen:
        tick.at = at
        if text.startswith("# "):
            recorder.marker(text[2:])
        else:
            recorder.output(1, text.encode())
    recorder.close()


def end_session(session: SSHSession, now: datetime, reason: EndReason = EndReason.CLIENT_CLOSED) -> Recording:
    services.end_session(session.id, reason, Totals(bytes_in=214, bytes_out=18_734), now)
    services.seal_recording(session.id, now)
    return Recording.objects.get(session=session)


def add_command(
    session: SSHSession, number: int, command: str, now: datetime, status: int | None = 0
) -> None:
    facts = ChannelFacts(
        number=number,
        kind="exec",
        opened_at=now,
        command=command,
        closed_at=now,
        exit_status=status,
        bytes_out=1234,
        sha256_out=hashlib.sha256(command.encode()).hexdigest(),
    )
    services.save_channel(session.id, facts)


def add_files(session: SSHSession, now: datetime) -> None:
    """What an sftp did: a file brought over, of which a copy is kept, and one that was refused."""
    store().prepare()
    path = store().kept_path(session.id, 9, 1)
    writer = KeptWriter(path, recording_key())
    writer.write(MOVED)
    writer.close()
    done = FileFacts(
        channel=9, number=1, verb="write", path="/srv/historian/patch.tar", target="",
        direction=FileOperation.Direction.UP, bytes=len(MOVED), sha256=hashlib.sha256(MOVED).hexdigest(),
        outcome="done", kept=f"{session.id}/9-1.kept", started_at=now, ended_at=now,
    )  # fmt: skip
    refused = replace(
        done, number=2, verb="rename", path="/etc/passwd", target="/tmp/x", direction=FileOperation.Direction.NONE,
        bytes=0, sha256="", outcome="file_outside_roots", kept="",
    )  # fmt: skip
    services.save_file_operations([(session.id, done), (session.id, refused)])


FINDING = findings.FindingForm("unsafe", "high", "Spool files were removed without a copy of them")
MOVED = b"\x00\x01 what was moved\n"


def add_shell(session: SSHSession, now: datetime) -> None:
    services.save_channel(session.id, ChannelFacts(number=0, kind="shell", opened_at=now))


def release(grant: Grant, now: datetime) -> Grant:
    return grants.release(grant.id, grant.person, now)


def due_review(grant: Grant, now: datetime) -> Review:
    services.open_due_reviews(now)
    return Review.objects.get(grant=grant)


SCREEN = [
    (0.2, "\x1b[1;32moperator@hist-01\x1b[0m:~$ "),
    (1.4, "df -h\r\n"),
    (
        1.6,
        "Filesystem      Size  Used Avail Use% Mounted on\r\n/dev/sda1        20G   19G  312M  99% /var/historian\r\n",
    ),
    (1.7, "\x1b[1;32moperator@hist-01\x1b[0m:~$ "),
    (14.0, "ls spool | wc -l\r\n18342\r\n\x1b[1;32moperator@hist-01\x1b[0m:~$ "),
    (14.1, "# 10 minutes left"),
    (21.0, "rm -r spool/2024-*\r\n\x1b[1;32moperator@hist-01\x1b[0m:~$ "),
    (24.0, "systemctl restart historian\r\n\x1b[1;32moperator@hist-01\x1b[0m:~$ "),
    (
        31.0,
        "tail -n 2 /var/log/historian.log\r\n02:41:07 collector 7 connected\r\n02:41:08 backfill 14 %\r\n",
    ),
    (31.1, "\x1b[1;32moperator@hist-01\x1b[0m:~$ "),
    (36.0, "exit\r\nlogout\r\n"),
]


@dataclass(frozen=True)
class Scene:
    """One of each."""

    incident: UUID
    pending: UUID
    half: UUID
    live: UUID
    armed: UUID
    denied: UUID
    ended: UUID
    live_session: UUID
    ended_session: UUID
    review: int
    finding: int
    lock: UUID


def set_all(now: datetime) -> Scene:
    """People, machines, playbooks, and one request in each state, of the last hours up to `now`."""
    ago = lambda minutes: now - timedelta(minutes=minutes)  # noqa: E731
    cast.everybody(ago(600))
    set_machines(ago(599))
    set_key("rita", ago(598))
    incident = open_incident("Historian of line 1 answers nobody", ago(190))
    other = open_incident("Chillers of hall B report no temperatures", ago(90), by="rob")
    over = ask("rita", "historian-down", incident, ago(180))
    over = approve(over, "ada", ago(178), "Go ahead; the control room knows.")
    ended = open_session(grant_of(over), ago(170))
    add_shell(ended, ago(170))
    for number, (command, status) in enumerate(
        [("uptime", 0), ("df -h", 0), ("systemctl is-active historian", 3)], 1
    ):
        add_command(ended, number, command, ago(168), status)
    add_files(ended, ago(160))
    record(ended, SCREEN)
    end_session(ended, ago(150))
    release(grant_of(over), ago(149))
    review = due_review(grant_of(over), ago(149))
    finding = findings.add(review.pk, person("vera"), FINDING, ago(140)).pk
    denied = ask("rob", "hmi-failover", other, ago(80), reason="Want to look around on the HMI.")
    deny(denied, "ben", ago(77), "The HMI is fine; look at the BMS instead.")
    live = approve(
        ask("rita", "historian-down", incident, ago(20)), "ada", ago(18), "Yes. Disk first, please."
    )
    running = open_session(grant_of(live), ago(9))
    add_shell(running, ago(9))
    armed = ask(
        "rita",
        "historian-backup-restore",
        incident,
        ago(12),
        reason="Archive is corrupt; restore of last night.",
    )
    armed = approve(approve(armed, "ada", ago(11)), "ben", ago(10), "Digest checked with me on the phone.")
    half = ask(
        "rob", "historian-backup-restore", incident, ago(4), reason="Second pair of hands for the restore."
    )
    approve(half, "ada", ago(3))
    pending = ask(
        "rob",
        "building-management-recovery",
        other,
        ago(2),
        reason="Hall B reads 0 °C everywhere; restart the collector.",
    )
    lock = locks.place(
        person("admin"), "asset", "eng-ws-03", "Odd logins last night", fresh_code("admin", now), now
    )
    return Scene(
        incident.id,
        pending.id,
        half.id,
        live.id,
        armed.id,
        denied.id,
        over.id,
        running.id,
        ended.id,
        review.pk,
        finding,
        lock.id,
    )
