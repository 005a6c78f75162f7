"""The back office: administrators look at records there, and nobody can change anything past the services."""

from __future__ import annotations

import re

import pytest
from axes.models import AccessAttempt
from django.urls import reverse

from breakglass import clock
from breakglass.models import AccessRequest, ApiToken, AuditEvent, Person
from breakglass.web.office import office, shown_fields
from sessions.models import ChatMessage, Recording, Review, TranscriptEntry
from sessions.web import office as _of_the_data_plane  # noqa: F401 - registers its models
from tests.web.conftest import Enter
from tests.web.stage import Scene

pytestmark = pytest.mark.django_db
OTHERS = ("rita", "rob", "ben", "sam", "vera", "otto")
INLINE = re.compile(r"<script(?![^>]*(?:src=|application/json))|\sstyle=|\son\w+=")


def models() -> list[type]:
    return list(office._registry)


def path_of(model: type, page: str, *args: object) -> str:
    meta = model._meta  # type: ignore[attr-defined]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=args, current_app="office")


def test_administrators_look_at_every_record(scene: Scene, enter: Enter) -> None:
    admin = enter("admin")
    assert admin.get("/records/").status_code == 200
    for model in models():
        answer = admin.get(path_of(model, "changelist"))
        assert answer.status_code == 200, model
        page = answer.content.decode()
        assert not INLINE.search(page), (model, INLINE.search(page))
        row = model._default_manager.first()  # type: ignore[attr-defined]
        if row is not None:
            assert admin.get(path_of(model, "change", row.pk)).status_code == 200, model


@pytest.mark.parametrize("who", OTHERS)
def test_nobody_else_does(scene: Scene, enter: Enter, who: str) -> None:
    client = enter(who)
    for path in ["/records/", "/records/login/", *(path_of(model, "changelist") for model in models())]:
        assert client.get(path).status_code == 403, path


def test_strangers_are_sent_to_the_login_of_the_house(scene: Scene, enter: Enter) -> None:
    answer = enter("nobody").get("/records/")
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=%2Frecords%2F")


def test_nothing_can_be_added_changed_or_deleted(scene: Scene, enter: Enter) -> None:
    admin = enter("admin")
    for model in models():
        assert admin.post(path_of(model, "add"), {}).status_code == 403, model
        row = model._default_manager.first()  # type: ignore[attr-defined]
        if row is not None:
            assert admin.post(path_of(model, "change", row.pk), {"is_active": ""}).status_code == 403, model
            assert admin.post(path_of(model, "delete", row.pk), {"post": "yes"}).status_code == 403, model
            chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
            admin.post(path_of(model, "changelist"), chosen)
            assert model._default_manager.filter(pk=row.pk).exists(), model  # type: ignore[attr-defined]


def test_no_secret_stands_there(scene: Scene, enter: Enter) -> None:
    admin = enter("admin")
    pages = "".join(admin.get(path_of(model, "changelist")).content.decode() for model in models())
    person = Person.objects.get(username="rita")
    pages += admin.get(path_of(Person, "change", person.pk)).content.decode()
    assert person.password not in pages
    names = {f"{model.__name__}.{field.name}" for model in models() for field in shown_fields(model)}  # type: ignore[arg-type]
    assert not {name for name in names if "secret" in name or "sha256" in name or name.endswith(".url")}
    assert "Person.username" in names and "ApiToken.label" in names
    assert ApiToken in models()


def test_what_has_readers_on_record_is_not_there() -> None:
    assert not {Recording, Review, ChatMessage, TranscriptEntry, AuditEvent} & set(models())


def test_a_lock_out_is_lifted_on_record(scene: Scene, enter: Enter) -> None:
    row = AccessAttempt.objects.create(
        username="rita",
        ip_address="192.0.2.9",
        user_agent="x",
        attempt_time=clock.now(),
        failures_since_start=5,
    )
    chosen = {"action": "let_in_again", "_selected_action": [row.pk]}
    enter("admin").post(path_of(AccessAttempt, "changelist"), chosen)
    assert not AccessAttempt.objects.filter(pk=row.pk).exists()
    told = AuditEvent.objects.get(tag="web:login:unlocked")
    assert b"192.0.2.9" in bytes(told.body)


@pytest.mark.parametrize(
    "asked", ["password__startswith=a", "username=rita", "totpfactor__last_step__gt=0", "match_number=14"]
)
def test_no_column_answers_questions_about_what_is_in_it(scene: Scene, enter: Enter, asked: str) -> None:
    """A filter by a column that isn't shown would tell it letter by letter."""
    for model in models():
        answer = enter("admin").get(path_of(model, "changelist") + f"?{asked}")
        assert answer.status_code in (302, 400, 422), model
        break
    whole = enter("admin").get(path_of(Person, "changelist") + f"?{asked}")
    assert whole.status_code in (302, 400, 422)


def test_the_number_that_an_approver_must_be_told_is_not_there() -> None:
    assert "match_number" not in {field.name for field in shown_fields(AccessRequest)}
