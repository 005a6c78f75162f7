"""Wiring only: every address of the product. The data plane's pages join by name: breakglass never imports sessions."""

from __future__ import annotations

from django.conf import settings
from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver

from breakglass.api import face
from breakglass.web import health
from breakglass.web.office import office

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("api/v1/", face.urls()),
    path("", include("breakglass.web.urls")),
    path("", include(settings.DATA_PLANE_URLS)),
    # Last: by now the data plane has added what it has to show there.
    path("records/", office.urls),
]

handler400 = "breakglass.web.refused.bad_request"
handler403 = "breakglass.web.refused.forbidden"
handler404 = "breakglass.web.refused.not_found"
handler500 = "breakglass.web.refused.server_error"
