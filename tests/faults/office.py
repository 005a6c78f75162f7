"""The control plane's side of the harness: what people would click, done by the same services, in a process of its own.

`python -m tests.faults.office` with the installation's environment. Two things are done behind the product's back, for the
shortest grant that can be asked for lasts minutes: a grant's end is moved, and a one-time code may be used again.
"""

from __future__ import annotations

import base64
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "breakglass.settings")
django.setup()

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402
from cryptography.hazmat.primitives.serialization import (  # noqa: E402
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django_otp.oath import TOTP  # noqa: E402

from breakglass import clock, database_bell, doorbell  # noqa: E402
from breakglass.models import Asset, AuditEvent, Grant, Incident, Person, TotpFactor  # noqa: E402
from breakglass.services import (  # noqa: E402  # noqa: E402
    approvals,
    assets,
    certificates,
    credentials,
    grants,
    incidents,
    keys,
    people,
    playbooks,
    requests,
    second_factor,
)
from playbooks.schema import PlaybookSpec  # noqa: E402
from sessions.models import Receipt, Recording, SSHSession  # noqa: E402
from sessions.services import recording_check  # noqa: E402
from sessions.services import recordings as recordings_of  # noqa: E402
from tests.faults import pipe  # noqa: E402

SECRET = base64.b32encode(b"only for the harness").decode()
BOOK: dict[str, Any] = {
    "schema_version": 1, "slug": "harness", "title": "Fault harness", "purpose": "Sessions that are there to be ended",
    "owner": "OT data services", "asset_class": "historian", "risk": "low", "assets": ["near", "far"],
    "logins": ["operator"], "channels": ["shell", "exec"], "duration": {"default_minutes": 30, "max_minutes": 60},
    "clock": {"starts": "approval"}, "approvers": {"groups": ["ot-leads"], "count": 1},
    "requesters": {"groups": ["responders"]}, "idle_minutes": 10, "review_due_hours": 24,
    "standards": ["NIST CSF 2.0 PR.AA-03"], "runbook": "## Steps\n\nStay until you are cut off.\n",
}  # fmt: skip

_is_there = database_bell.is_there
ENDS = (
    "gateway:session:ended", "gateway:session:crashed",
    "grants:grant:expired", "grants:grant:released", "grants:grant:revoked",
)  # fmt: skip


def migrate() -> str:
    """The database's tables; what the asset's authorized_keys has to hold."""
    call_command("migrate", verbosity=0)
    return f"cert-authority {credentials.user_ca_public_key()}"


def furnish(folder: str, host_key: str, port: int, count: int) -> None:
    """`count` responders, an approver, an incident, a playbook, and the asset twice: as `near` and as `far`."""
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher"
    ]  # nobody logs in by one here
    now = clock.now()
    for name in ("near", "far"):
        login = assets.LoginForm("operator", "certificate")
        form = assets.AssetForm(name, name.title(), "historian", "127.0.0.1", port, [host_key], [login], "OT")
        assets.register(form, by=None, now=now)
    for number in range(count):
        person = _person(f"rita{number}", "responders", now)
        _key(person, Path(folder) / f"rita{number}", now)
    _person("ada", "ot-leads", now)
    incidents.open_incident(_named("rita0"), "Everything at once", now)
    playbooks.publish([PlaybookSpec.from_plain(BOOK)], now)


def move(asset: str, port: int) -> None:
    """The asset is reached by another port from now on: by a proxy's."""
    Asset.objects.filter(name=asset).update(port=port)


def give(folder: str, who: list[int], asset: str) -> list[dict[str, str]]:
    """A grant of half an hour for each of these, with a certificate that lets them in without a code."""
    return [_give(Path(folder), number, asset) for number in who]


def end_at(ids: list[str], at: float) -> None:
    """Move the grants' end (seconds since 1970) behind the product's back, and ring as an extension does."""
    with transaction.atomic():
        Grant.objects.filter(pk__in=ids).update(ends_at=datetime.fromtimestamp(at, UTC))
        for grant in ids:
            doorbell.ring(f"grant:{grant}")
            doorbell.ring("sessions", grant=grant)


def revoke(grant: str) -> dict[str, float]:
    """By the approver; when it was asked for and when it was committed."""
    ada = _named("ada")
    code = _code(ada)
    asked = time.monotonic()
    grants.revoke(grant, ada, "the harness wants it", code, clock.now())
    return {"asked": asked, "committed": time.monotonic()}


def mute(yes: bool) -> None:
    """Nobody here rings PostgreSQL's bell any more, or again."""
    database_bell.is_there = (lambda: False) if yes else _is_there


def ended(ids: list[str]) -> dict[str, Any]:
    """What the books say of the sessions under these grants, by the label of each."""
    found = {}
    rows = SSHSession.objects.filter(grant_id__in=ids).select_related("recording")
    receipts = {row.session_id: row for row in Receipt.objects.filter(session__in=rows)}
    ends = _ends_of([f"sshsession:{row.pk}" for row in rows])
    for row in rows:
        found[row.label] = {
            "grant": str(row.grant_id), "state": row.state, "reason": row.end_reason, "end_rows": len(ends.get(f"sshsession:{row.pk}", ())),
            "ended_at": _seconds(row.ended_at), "recording": row.recording.state, "opened_at": _seconds(row.opened_at),
            "receipt": _receipt(receipts.get(row.pk)), "gateway": row.gateway_id,
        }  # fmt: skip
    return found


def _ends_of(subjects: list[str]) -> dict[str, list[float]]:
    """When the trail says that each of these ended: once, if all is well."""
    found: dict[str, list[float]] = {}
    for subject, at in AuditEvent.objects.filter(subject__in=subjects, tag__in=ENDS).values_list(
        "subject", "at"
    ):
        found.setdefault(subject, []).append(at.timestamp())
    return found


def _receipt(row: Receipt | None) -> dict[str, Any] | None:
    if row is None:
        return None
    times = ("asked_at", "cut_at", "last_byte_at", "client_gone_at", "target_gone_at")
    return {name: _seconds(getattr(row, name)) for name in times} | {"estimated": row.estimated}


def written(ids: list[str]) -> list[dict[str, Any]]:
    """What the books say of these grants: state, how often an end was written, and when."""
    rows = []
    ends = _ends_of([f"grant:{grant}" for grant in ids])
    for grant in Grant.objects.filter(pk__in=ids):
        mine = ends.get(f"grant:{grant.pk}", ())
        rows.append({
            "state": grant.state, "end_rows": len(mine), "ended_at": _seconds(grant.ended_at),
            "ends_at": _seconds(grant.ends_at), "written_at": max(mine, default=None),
        })  # fmt: skip
    return rows


def send(task: str, ids: list[str], times: int) -> None:
    """Have Celery do that, for each of these, so many times over."""
    from breakglass.celery import app

    for _ in range(times):
        for name in ids:
            app.send_task(task, args=(name,))


def session_ids(ids: list[str]) -> list[str]:
    return [str(row) for row in SSHSession.objects.filter(grant_id__in=ids).values_list("pk", flat=True)]


def recordings(ids: list[str]) -> list[str]:
    rows = Recording.objects.filter(session__grant_id__in=ids)
    return [str(state) for state in rows.values_list("state", flat=True)]


def tapes(labels: list[str], folder: str) -> dict[str, dict[str, Any]]:
    """The recordings of these sessions: what a check says, and sealed ones as files in `folder`."""
    found = {}
    numbers = [int(label.removeprefix("S-")) for label in labels]
    for row in Recording.objects.select_related("session").filter(session__number__in=numbers):
        label, path = row.session.label, Path(folder) / f"{row.session.label}.cast"
        checked = recording_check.check(row)
        if row.state != "open" and not path.exists():
            path.write_bytes(b"".join(recordings_of.read_recording(row)))
        found[label] = {
            "session": str(row.session_id), "state": row.state, "reason": row.session.end_reason,
            "verdict": str(checked.verdict), "what": checked.what, "path": str(path),
        }  # fmt: skip
    return found


def trail(tag: str) -> int:
    """How many rows of that kind there are."""
    return AuditEvent.objects.filter(tag=tag).count()


def _person(name: str, group: str, now: datetime) -> Person:
    person = people.create(
        username=name, full_name=name.title(), email=f"{name}@example.org", password="correct horse battery staple",
        groups=[group], by=None, now=now,
    )  # fmt: skip
    second_factor.enrol_known(person, SECRET, now)
    return person


def _key(person: Person, path: Path, now: datetime) -> None:
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    path.with_suffix(".pub").write_text(line + "\n")
    keys.register_known(person, line, "harness", now)


def _give(folder: Path, number: int, asset: str) -> dict[str, str]:
    now, rita, ada = clock.now(), _named(f"rita{number}"), _named("ada")
    form = requests.SubmitForm(
        "harness", Incident.objects.get().pk, (asset,), "trends stopped at 02:10", minutes=30
    )
    request = requests.submit(rita, form, now)
    approvals.approve(request.pk, ada, _code(ada), "go on", now)
    grant = Grant.objects.get(request=request)
    line = (folder / f"rita{number}.pub").read_text()
    certificate = folder / f"{grant.pk}-cert.pub"
    certificate.write_text(certificates.issue(rita, grant.pk, line, _code(rita), now).line + "\n")
    return {
        "grant": str(grant.pk), "user": f"{rita.username}+{asset}", "key": str(folder / rita.username),
        "certificate": str(certificate),
    }  # fmt: skip


def _named(name: str) -> Person:
    return Person.objects.get(username=name)


def _code(person: Person) -> str:
    """A fresh one, as of a new device: a code counts once, and the next comes after half a minute."""
    TotpFactor.objects.filter(user=person).delete()
    second_factor._store(person, base64.b32decode(SECRET), -1)
    totp = TOTP(base64.b32decode(SECRET), step=second_factor.STEP)
    totp.time = time.time()
    return f"{totp.token():06d}"


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def hang_up() -> None:
    """Before the database goes: so that this process notices nothing of it."""
    connections.close_all()


DOES = {
    function.__name__: function
    for function in (migrate, furnish, move, give, end_at, revoke, mute, ended, written, send, session_ids, recordings,
                     tapes, trail, hang_up)
}  # fmt: skip


if __name__ == "__main__":
    pipe.serve_plainly(DOES)
