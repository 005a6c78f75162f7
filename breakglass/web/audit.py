"""The audit trail: filtered, a page at a time, with what stands about the chain."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.models import AuditAnchor, AuditCheckpoint, AuditEvent, AuditHead
from breakglass.services.audit_proofs import notary_key
from breakglass.services.audit_verdict import Evidence, Report, examine
from breakglass.services.siem import behind
from breakglass.web.who import demand, person_of

PAGE = 50
# A page waits for these; `manage.py verify_audit` looks at all of them, at the anchors, and at the recordings.
NEWEST_CHECKPOINTS = 500
# How a row's data names its subject, the best first.
LABELS = ("session", "request", "incident", "username", "name", "slug", "fingerprint")
SOURCES = sorted({str(tag).split(":")[0] for tag in AuditTag})


class FilterForm(forms.Form):
    tag = forms.ChoiceField(label="What", required=False)
    actor = forms.CharField(label="Who", required=False, max_length=64)
    subject = forms.CharField(label="About", required=False, max_length=80)
    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        tags = [("", "everything"), *((f"{source}:", f"all of {source}") for source in SOURCES)]
        self.fields["tag"].choices = [*tags, *((str(tag), str(tag)) for tag in sorted(AuditTag))]  # type: ignore[attr-defined]


@require_http_methods(["GET", "HEAD", "POST"])
def audit(request: HttpRequest) -> HttpResponse:
    """POST walks the whole chain; it changes nothing, but is too much work for a link."""
    person = person_of(request)
    demand(person, Verb.SEE_AUDIT)
    form = FilterForm(request.GET)
    rows = _filtered(form) if form.is_valid() else AuditEvent.objects.none()
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    asked = {name: value for name, value in request.GET.items() if value and name != "page"}
    head = AuditHead.objects.get(id=1)
    context = {
        "form": form,
        "page": page,
        "rows": [_row(event) for event in page],
        "query": urlencode(asked),
        "filtered": bool(asked),
        "head": head,
        "checkpoint": AuditCheckpoint.objects.first(),
        "notary_key": notary_key(),
        "anchors": AuditAnchor.objects.all(),
        "streams": behind(head.seq),
        "verified": _verified() if request.method == "POST" else None,
    }
    return render(request, "breakglass/audit.html", context)


def _verified() -> Report:
    return examine(Evidence(stored=NEWEST_CHECKPOINTS), recordings=False)


def _filtered(form: FilterForm) -> QuerySet[AuditEvent]:
    wanted = form.cleaned_data
    rows = AuditEvent.objects.all()
    if wanted["tag"]:
        rows = rows.filter(tag__startswith=wanted["tag"])
    if wanted["actor"]:
        rows = rows.filter(actor_name=wanted["actor"].strip().lower())
    if wanted["subject"]:
        rows = rows.filter(subject__startswith=wanted["subject"].strip())
    if wanted["since"]:
        rows = rows.filter(at__date__gte=wanted["since"])
    if wanted["until"]:
        rows = rows.filter(at__date__lte=wanted["until"])
    return rows


def _row(event: AuditEvent) -> dict[str, Any]:
    source, _, action = event.tag.partition(":")
    return {
        "event": event,
        "source": source,
        "action": action.replace(":", " ").replace("_", " "),
        "who": event.actor_name or event.actor,
        "label": next((str(event.data[name]) for name in LABELS if event.data.get(name)), ""),
        "data": [
            (key, value if isinstance(value, str) else json.dumps(value)) for key, value in event.data.items()
        ],
    }
