"""The addresses of the control plane's pages."""

from __future__ import annotations

from django.urls import path

from breakglass.web import (
    asset,
    audit,
    grant,
    home,
    inbox,
    incident,
    login,
    mail,
    playbook,
    profile,
    request,
    request_new,
)

urlpatterns = [
    path("", home.home, name="home"),
    path("live/", home.home_live, name="home_live"),
    path("events/", home.home_events, name="home_events"),
    path("login/", login.login, name="login"),
    path("login/second/", login.second_step, name="login_second"),
    path("login/enrol/", login.enrol, name="login_enrol"),
    path("logout/", login.logout, name="logout"),
    path("playbooks/", playbook.playbooks, name="playbooks"),
    path("playbooks/<slug:slug>/", playbook.playbook, name="playbook"),
    path("playbooks/<slug:slug>/request/", request_new.request_new, name="request_new"),
    path("requests/<uuid:request_id>/", request.request_page, name="request"),
    path("requests/<uuid:request_id>/live/", request.request_live, name="request_live"),
    path("requests/<uuid:request_id>/events/", request.request_events, name="request_events"),
    path("requests/<uuid:request_id>/withdraw/", request.request_withdraw, name="request_withdraw"),
    path("requests/<uuid:request_id>/decide/", inbox.request_decide, name="request_decide"),
    path("inbox/", inbox.inbox, name="inbox"),
    path("inbox/live/", inbox.inbox_live, name="inbox_live"),
    path("inbox/events/", inbox.inbox_events, name="inbox_events"),
    path("grants/<uuid:grant_id>/release/", grant.grant_release, name="grant_release"),
    path("grants/<uuid:grant_id>/revoke/", grant.grant_revoke, name="grant_revoke"),
    path("incidents/", incident.incidents, name="incidents"),
    path("incidents/open/", incident.incident_open, name="incident_open"),
    path("incidents/<uuid:incident_id>/", incident.incident, name="incident"),
    path("incidents/<uuid:incident_id>/close/", incident.incident_close, name="incident_close"),
    path("assets/", asset.assets, name="assets"),
    path("assets/<str:name>/", asset.asset, name="asset"),
    path("profile/", profile.profile, name="profile"),
    path("profile/keys/", profile.key_add, name="key_add"),
    path("profile/keys/<int:key_id>/remove/", profile.key_remove, name="key_remove"),
    path("profile/tokens/", profile.token_add, name="token_add"),
    path("profile/tokens/<uuid:token_id>/revoke/", profile.token_revoke, name="token_revoke"),
    path("audit/", audit.audit, name="audit"),
    path("mail/", mail.mail, name="mail"),
]
