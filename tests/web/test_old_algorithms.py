"""Old algorithms are a risk that an administrator takes for one asset, with a code; whoever decides on access sees it."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from breakglass import clock
from breakglass.models import AccessRequest, Asset, AuditEvent
from tests.support.cast import new_key
from tests.web import stage
from tests.web.conftest import Enter
from tests.web.stage import Scene

pytestmark = pytest.mark.django_db
PAGE = "/assets/hist-01/"


def _allow(enter: Enter, who: str, allowed: str = "yes", code: str | None = None) -> int:
    given = stage.fresh_code(who, clock.now()) if code is None else code
    return enter(who).post(PAGE, {"allowed": allowed, "code": given}).status_code


def _allowed() -> bool:
    return Asset.objects.get(name="hist-01").legacy_algorithms


def test_an_administrator_allows_and_forbids_them_with_a_code(scene: Scene, enter: Enter) -> None:
    assert _allow(enter, "admin") == 302 and _allowed()
    row = AuditEvent.objects.filter(tag="assets:asset:changed").latest("seq")
    assert row.data == {"legacy_algorithms": True} and row.actor_name == "admin"
    assert "Risk: old algorithms." in enter("rita").get(PAGE).content.decode()
    assert _allow(enter, "admin", "no") == 302 and not _allowed()
    assert "Risk: old algorithms." not in enter("rita").get(PAGE).content.decode()


def test_nobody_else_and_nobody_without_a_code(scene: Scene, enter: Enter) -> None:
    assert _allow(enter, "rita") == 403
    assert _allow(enter, "ada") == 403
    assert _allow(enter, "admin", code="") == 422
    assert _allow(enter, "admin", code="000000") in {403, 422, 429}
    assert _allow(enter, "admin", "perhaps") == 422
    assert not _allowed()
    assert "Allow old algorithms" in enter("admin").get(PAGE).content.decode()
    assert "Allow old algorithms" not in enter("rita").get(PAGE).content.decode()


def test_the_request_and_the_approvers_card_show_the_risk(scene: Scene, enter: Enter) -> None:
    ask = AccessRequest.objects.get(pk=scene.pending)
    asset = ask.assets.get()
    before = enter("ada").get("/inbox/").content.decode()
    assert "old, weak SSH algorithms" not in before
    Asset.objects.filter(pk=asset.pk).update(legacy_algorithms=True)
    assert "old algorithms" in enter(ask.requester.username).get(f"/requests/{ask.id}/").content.decode()
    said = f"{asset.name}: reached with old, weak SSH algorithms"
    assert said in enter("ada").get("/inbox/").content.decode()
    assert said in enter("ada").get(f"/requests/{ask.id}/decide/").content.decode()


def test_the_command_registers_one_with_them(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
    key = tmp_path_factory.mktemp("key") / "host.pub"
    key.write_text(new_key()[1] + "\n")
    for name, words in {"old-plc": ["--legacy-algorithms"], "new-plc": []}.items():
        call_command(
            "add_asset", name, "--title", "PLC", "--host", "192.0.2.9", "--host-key", str(key),
            "--login", "operator:certificate", *words,
        )  # fmt: skip
    assert Asset.objects.get(name="old-plc").legacy_algorithms
    assert not Asset.objects.get(name="new-plc").legacy_algorithms
    rows = AuditEvent.objects.filter(tag="assets:asset:registered").order_by("-seq")[:2]
    assert [row.data["legacy_algorithms"] for row in rows] == [False, True]
