"""The back office: Django's admin over what no other page shows, for administrators who logged in with both factors.

It reads and changes nothing: every change of the house goes through a service, which asks for a second factor and writes
the audit row, and this would be a way around them. What is secret, or whose reading is on record elsewhere (recordings,
commands, the audit trail), isn't here. Lock-outs of the login page can be lifted, which is on record too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import wraps
from typing import Any, Final

from axes.models import AccessAttempt
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from breakglass import clock
from breakglass.domain.audit import AuditTag
from breakglass.domain.permissions import Verb
from breakglass.models import (
    AccessRequest,
    ApiToken,
    Asset,
    AssetHostKey,
    AssetLogin,
    AuditCheckpoint,
    AuditStream,
    EnrolmentCode,
    FactorRecovery,
    Grant,
    Incident,
    Lock,
    Notice,
    NoticeDelivery,
    NoticeRoute,
    Person,
    PersonCertificate,
    PlaybookVersion,
    SshKey,
)
from breakglass.services import audit
from breakglass.web.who import can, demand, has_both_factors, person_of

SECRET_WORDS: Final = ("match", "secret", "sha256", "password", "url", "token", "blob", "body", "key_handle")
MOST_COLUMNS: Final = 7


class Office(admin.AdminSite):
    """For administrators alone. Its own log-in page is the house's."""

    site_header = "Breakglass · records"
    site_title = "Breakglass"
    index_title = "Records, to look at"
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        return has_both_factors(request.user) and can(person_of(request), Verb.SEE_RECORDS)

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Who may not is told so in the house's words, and who could; nobody is sent to another log-in page."""
        inner = super().admin_view(view, cacheable)

        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            demand(person_of(request), Verb.SEE_RECORDS)
            answer: HttpResponse = inner(request, *args, **kwargs)
            return answer

        return guarded

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        demand(person_of(request), Verb.SEE_RECORDS)
        return redirect(reverse("home"))

    def get_urls(self) -> list[Any]:
        """Without the pages that change a login or a password: those are the house's own."""
        kept = {"index", "app_list", "jsi18n", "login"}
        return [
            url
            for url in super().get_urls()
            if getattr(url, "name", None) in kept or not hasattr(url, "name")
        ]


class Looked(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows to look at. Whatever could be secret is left out, by type and by name."""

    list_per_page = 50
    show_full_result_count = False
    actions: Sequence[Any] | None = None
    list_display_links = None
    sortable_by = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return office.has_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return office.has_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Nothing is filtered by: a question about a column answers what is in it, be the column shown or not."""
        return False

    def get_list_display(self, request: HttpRequest) -> Any:
        return [field.name for field in shown_fields(self.model)][:MOST_COLUMNS]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field.name for field in shown_fields(self.model)]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        relations = [field.name for field in shown_fields(self.model) if field.is_relation]
        return super().get_queryset(request).select_related(*relations)


class LockedOut(Looked):
    """Logins that failed; lifting one lets that account try again from that address."""

    actions = ("let_in_again",)

    @admin.action(description="Let them try again")
    def let_in_again(self, request: HttpRequest, rows: QuerySet[AccessAttempt]) -> None:
        person, now = person_of(request), clock.now()
        with transaction.atomic():
            for row in rows:
                data = {"username": row.username or "", "address": row.ip_address or ""}
                audit.append(AuditTag.LOGIN_UNLOCKED, actor=person, subject="login", now=now, data=data)
            count, _ = rows.delete()
        messages.success(request, f"{count} may try again.")


def shown_fields(model: type[models.Model]) -> list[models.Field[Any, Any]]:
    """The fields that may be read by whoever looks at records."""
    return [
        field
        for field in model._meta.fields
        if not isinstance(field, models.BinaryField | models.JSONField)
        and not any(word in field.name for word in SECRET_WORDS)
    ]


def show(rows: Collection[type[models.Model]]) -> None:
    """Add models to look at; the data plane adds its own."""
    for model in rows:
        if not office.is_registered(model):
            office.register(model, Looked)


office = Office(name="office")
office.register(AccessAttempt, LockedOut)
show(
    (
        AccessRequest, ApiToken, Asset, AssetHostKey, AssetLogin, AuditCheckpoint, AuditStream, EnrolmentCode,
        FactorRecovery, Grant, Group, Incident, Lock, Notice, NoticeDelivery, NoticeRoute, Person, PersonCertificate,
        PlaybookVersion, SshKey,
    )
)  # fmt: skip
