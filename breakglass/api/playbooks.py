"""Playbooks: the current versions, what each opens, and its runbook."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from breakglass.api.auth import demand, person_of
from breakglass.api.errors import answers
from breakglass.api.paging import Page, Paging, page
from breakglass.domain.permissions import Verb
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import PlaybookVersion

router = Router(tags=["playbooks"])


class PlaybookOut(Schema):
    """One version. `spec` holds every field of the file, the runbook's Markdown included; `digest` is its SHA-256."""

    slug: str
    version: int
    digest: str
    title: str
    published_at: datetime
    retired_at: datetime | None
    requestable: bool
    spec: dict[str, Any]


@router.get("", response=answers(Page[PlaybookOut]))
def list_playbooks(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """The current version of each playbook. `requestable`: you may ask for access under it."""
    person = person_of(request)
    demand(person, Verb.SEE_PLAYBOOKS)
    groups = set(person.groups.values_list("name", flat=True))
    rows = PlaybookVersion.objects.filter(retired_at=None).order_by("slug")
    return page(rows, paging, lambda version: _shape(version, groups))


@router.get("/{slug}", response=answers(PlaybookOut))
def get_playbook(request: HttpRequest, slug: str, version: int | None = None) -> dict[str, Any]:
    """The current version of one playbook, or an older one by its number."""
    person = person_of(request)
    demand(person, Verb.SEE_PLAYBOOKS)
    rows = PlaybookVersion.objects.filter(slug=slug)
    found = (rows.filter(retired_at=None) if version is None else rows.filter(version=version)).first()
    if found is None:
        raise refuse(RefusalCode.NOT_FOUND, what="playbook")
    return _shape(found, set(person.groups.values_list("name", flat=True)))


def _shape(version: PlaybookVersion, groups: set[str]) -> dict[str, Any]:
    requesters = set(version.spec["requesters"]["groups"])
    return {
        "slug": version.slug,
        "version": version.version,
        "digest": version.digest,
        "title": version.title,
        "published_at": version.published_at,
        "retired_at": version.retired_at,
        "requestable": version.retired_at is None and bool(groups & requesters),
        "spec": version.spec,
    }
