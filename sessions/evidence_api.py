"""The REST face of evidence bundles."""

from __future__ import annotations

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Field, Query, Router

from breakglass import clock
from breakglass.api.auth import person_of
from breakglass.api.errors import PROBLEMS, Problem
from breakglass.api.inputs import Filter
from breakglass.api.naming import find
from breakglass.models import Grant
from sessions.services import evidence
from sessions.streaming import download

router = Router(tags=["grants"])

ZIP = "application/zip"


class EvidenceQuery(Filter):
    """`files`: with the kept copies of files."""

    files: bool = Field(default=False)


@router.get(
    "/grants/{ref}/evidence",
    response={200: str, PROBLEMS: Problem},
    openapi_extra={
        "responses": {
            200: {
                "description": "A signed zip: report, records, recordings, audit rows with proofs, and verify.py",
                "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}},
            }
        }
    },
)
def get_evidence(request: HttpRequest, ref: str, only: Query[EvidenceQuery]) -> StreamingHttpResponse:
    """The evidence bundle of a grant, made now. For reviewers, auditors and administrators (these without recordings). The
    export is audited; `X-Content-SHA256` is the zip's."""
    person = person_of(request)
    found = find(Grant.objects.only("pk"), ref, "grant")
    made = evidence.export(found.pk, person, clock.now(), with_files=only.files)
    return download(request, made.pieces(), made.name, made.size, ZIP, made.sha256)
