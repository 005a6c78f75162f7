"""Publishing playbooks: files become immutable versions that a request can pin by digest.

A version is never changed. A changed file makes a new one and retires the one before in the same transaction;
what was asked for under the old version goes on under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from breakglass.domain.audit import AuditTag
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import Asset, Person, PlaybookVersion
from breakglass.services import audit, notice_routes
from playbooks.digest import digest_of
from playbooks.schema import PlaybookSpec


@dataclass(frozen=True)
class Published:
    """What a publication did, by slug. Templates are patterns to copy: they are never published."""

    new: tuple[PlaybookVersion, ...]
    unchanged: tuple[str, ...]
    templates: tuple[str, ...]
    retired: tuple[PlaybookVersion, ...]


def publish(
    specs: Iterable[PlaybookSpec], now: datetime, *, retire_missing: bool = False, actor: Person | None = None
) -> Published:
    """All of these specs, or none: a version each where the digest is new. With `retire_missing`, what is current
    but not among them is retired. Raises Refused `bad_input` naming every fault of fitness (E9)."""
    wanted = list(specs)
    real = [spec for spec in wanted if not spec.template]
    new: list[PlaybookVersion] = []
    unchanged: list[str] = []
    with transaction.atomic():
        problems = unfit(real)
        if problems:
            raise refuse(RefusalCode.BAD_INPUT, problem="Nothing was published. " + " ".join(problems))
        for spec in real:
            version = _publish_one(spec, now, actor)
            if version is None:
                unchanged.append(spec.slug)
            else:
                new.append(version)
        keep = {spec.slug for spec in real}
        retired = _retire_missing(keep, now, actor) if retire_missing else ()
    templates = tuple(spec.slug for spec in wanted if spec.template)
    return Published(tuple(new), tuple(unchanged), templates, retired)


def retire(slug: str, now: datetime, *, actor: Person | None = None) -> PlaybookVersion:
    """The playbook can't be requested any more. Raises Refused `not_found` when none of that name is current."""
    with transaction.atomic():
        current = _current(slug)
        if current is None:
            raise refuse(RefusalCode.NOT_FOUND, what="current playbook of that name")
        return _retire(current, "withdrawn", now, actor)


def unfit(specs: Sequence[PlaybookSpec]) -> list[str]:
    """Why these can't be published: an asset that isn't registered, isn't of the class, or lacks the login."""
    problems: list[str] = []
    slugs: set[str] = set()
    names = {name for spec in specs for name in spec.assets}
    assets = {a.name: a for a in Asset.objects.filter(name__in=names).prefetch_related("logins")}
    for spec in specs:
        if spec.slug in slugs:
            problems.append(f"{spec.slug} is given twice: keep one.")
        slugs.add(spec.slug)
        for name in spec.assets:
            problems.extend(f"{spec.slug}: {fault}" for fault in _asset_faults(spec, name, assets.get(name)))
        problems.extend(f"{spec.slug}: {fault}" for fault in unknown_ways(spec))
    return problems


def unknown_ways(spec: PlaybookSpec) -> list[str]:
    """A way that nobody set up would be a notice that nobody gets."""
    return [
        f"there is no way for notices called {name}: set it up in BREAKGLASS_NOTICE_ROUTES, or take it out of notify."
        for name in notice_routes.missing(spec.notify)
    ]


def _asset_faults(spec: PlaybookSpec, name: str, asset: Asset | None) -> list[str]:
    if asset is None:
        return [f"the asset {name} isn't registered: register it first, or mark the playbook as a template."]
    faults = []
    if asset.kind != spec.asset_class:
        faults.append(
            f"{name} is of class {asset.kind}, not {spec.asset_class}: a playbook holds one class (E8)."
        )
    known = {login.name for login in asset.logins.all()}
    faults += [
        f"{name} has no login {login}: store its credential first."
        for login in spec.logins
        if login not in known
    ]
    if not asset.active:
        faults.append(f"{name} is switched off: enable it, or take it out.")
    if not asset.owner:
        faults.append(f"{name} has no owner: name one (E9).")
    return faults


def _publish_one(spec: PlaybookSpec, now: datetime, actor: Person | None) -> PlaybookVersion | None:
    digest = digest_of(spec)
    current = _current(spec.slug)
    if current is not None and current.digest == digest:
        return None
    if current is not None:
        _retire(current, "replaced", now, actor)
    back = PlaybookVersion.objects.select_for_update(no_key=True).filter(digest=digest).first()
    if back is not None:
        # The very text that was current before: its digest names it already, so it comes back as it was.
        return _reinstate(back, now, actor)
    last = PlaybookVersion.objects.filter(slug=spec.slug).aggregate(last=Max("version"))["last"] or 0
    version = PlaybookVersion.objects.create(
        slug=spec.slug,
        version=last + 1,
        digest=digest,
        title=spec.title,
        spec=spec.model_dump(mode="json"),
        published_at=now,
    )
    _record(AuditTag.PLAYBOOK_PUBLISHED, version, now, actor)
    return version


def _reinstate(version: PlaybookVersion, now: datetime, actor: Person | None) -> PlaybookVersion:
    version.retired_at = None
    version.save(update_fields=("retired_at",))
    _record(AuditTag.PLAYBOOK_PUBLISHED, version, now, actor, why="reinstated")
    return version


def _retire_missing(keep: set[str], now: datetime, actor: Person | None) -> tuple[PlaybookVersion, ...]:
    missing = (
        PlaybookVersion.objects.select_for_update(no_key=True).filter(retired_at=None).exclude(slug__in=keep)
    )
    return tuple(_retire(version, "missing", now, actor) for version in missing)


def _retire(version: PlaybookVersion, why: str, now: datetime, actor: Person | None) -> PlaybookVersion:
    version.retired_at = now
    version.save(update_fields=("retired_at",))
    _record(AuditTag.PLAYBOOK_RETIRED, version, now, actor, why=why)
    return version


def _current(slug: str) -> PlaybookVersion | None:
    return PlaybookVersion.objects.select_for_update(no_key=True).filter(slug=slug, retired_at=None).first()


def _record(
    tag: AuditTag, version: PlaybookVersion, now: datetime, actor: Person | None, **more: str
) -> None:
    data = {"slug": version.slug, "version": version.version, "digest": version.digest, **more}
    audit.append(tag, actor=actor, subject=version, now=now, data=data)
