"""The evidence of a grant by program, as uvicorn serves it too."""

from __future__ import annotations

import hashlib
import io
import zipfile

from asgiref.sync import async_to_sync
from django.test import AsyncClient

from breakglass.models import AuditEvent
from tests.api.scene import Plant, Things


def test_it_comes_as_a_zip_whose_hash_is_in_the_trail(plant: Plant, things: Things) -> None:
    answer = plant.get("vera", f"/grants/{things.ended.pk}/evidence")
    assert answer.headers["Content-Type"] == "application/zip"
    row = AuditEvent.objects.get(tag="evidence:bundle:exported")
    assert row.data["sha256"] == answer.headers["X-Content-SHA256"] == hashlib.sha256(answer.body).hexdigest()
    assert not _names(answer.body, "files/")
    assert _names(plant.get("vera", f"/grants/{things.ended.pk}/evidence?files=true").body, "files/")


def test_it_is_sent_piece_by_piece_under_asgi(plant: Plant, things: Things) -> None:
    @async_to_sync
    async def fetched() -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {plant.tokens['otto']}"}
        answer = await AsyncClient().get(f"/api/v1/grants/{things.ended.pk}/evidence", headers=headers)
        return int(answer.headers["Content-Length"]), b"".join(
            [piece async for piece in answer.streaming_content]
        )

    size, data = fetched()
    assert len(data) == size
    assert _names(data, "recordings/")


def _names(data: bytes, start: str) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return [name for name in opened.namelist() if name.startswith(start)]
