"""The addresses of the data plane's pages; joined to the site by name in settings."""

from __future__ import annotations

from django.urls import path

from sessions.web import (
    coverage,
    ends,
    evidence,
    finding,
    hold,
    office,
    review,
    review_queue,
    replay,
    search,
    session,
    session_list,
    terminal,
    transcript,
    trends,
    wallboard,
)

# What it shows in the back office is added by importing it.
__all__ = ["office", "urlpatterns"]

urlpatterns = [
    path("sessions/", session_list.sessions, name="sessions"),
    path("sessions/<uuid:session_id>/", session.session_page, name="session"),
    path("sessions/<uuid:session_id>/live/", session.session_live, name="session_live"),
    path("sessions/<uuid:session_id>/events/", session.session_events, name="session_events"),
    path("sessions/<uuid:session_id>/recording.cast", session.recording_cast, name="recording_cast"),
    path("sessions/<uuid:session_id>/download/", session.recording_download, name="recording_download"),
    path("sessions/<uuid:session_id>/files/<str:label>/download/", session.kept_file, name="kept_file"),
    path("sessions/<uuid:session_id>/replay/", replay.replay_page, name="session_replay"),
    path("sessions/<uuid:session_id>/viewing/", replay.viewing, name="session_viewing"),
    path("sessions/<uuid:session_id>/timeline.json", replay.timeline_json, name="session_timeline"),
    path("sessions/<uuid:session_id>/chunks/<int:first>/<int:last>/", replay.chunks, name="session_chunks"),
    path("sessions/<uuid:session_id>/hold/", hold.session_hold, name="session_hold"),
    path("sessions/<uuid:session_id>/unhold/", hold.session_unhold, name="session_unhold"),
    path("sessions/<uuid:session_id>/kill/", session.session_kill, name="session_kill"),
    path("sessions/<uuid:session_id>/freeze/", session.session_freeze, name="session_freeze"),
    path("sessions/<uuid:session_id>/unfreeze/", session.session_unfreeze, name="session_unfreeze"),
    path("sessions/<uuid:session_id>/coverage/", coverage.session_coverage, name="session_coverage"),
    path("sessions/<uuid:session_id>/transcript/", transcript.transcript_page, name="session_transcript"),
    path("sessions/<uuid:session_id>/transcript.txt", transcript.transcript_text, name="transcript_text"),
    path("search/", search.search, name="search"),
    path("ends/", ends.ends, name="ends"),
    path("trends/", trends.trends, name="trends"),
    path("wallboard/", wallboard.wallboard, name="wallboard"),
    path("wallboard/pair/", wallboard.pair, name="wallboard_pair"),
    path("wallboard/live/", wallboard.wallboard_live, name="wallboard_live"),
    path("wallboard/events/", wallboard.wallboard_events, name="wallboard_events"),
    path("wallboard/screens/", wallboard.wallboard_screens, name="wallboard_screens"),
    path("wallboard/<uuid:session_id>/freeze/", wallboard.wallboard_freeze, name="wallboard_freeze"),
    path("wallboard/<uuid:session_id>/unfreeze/", wallboard.wallboard_unfreeze, name="wallboard_unfreeze"),
    path("kiosks/", wallboard.kiosk_list, name="kiosks"),
    path("kiosks/<uuid:kiosk_id>/revoke/", wallboard.kiosk_revoke, name="kiosk_revoke"),
    path("grants/<uuid:grant_id>/terminal/", terminal.terminal, name="terminal"),
    path("grants/<uuid:grant_id>/evidence/", evidence.grant_evidence, name="grant_evidence"),
    path("reviews/", review_queue.reviews, name="reviews"),
    path("reviews/<int:review_id>/", review.review, name="review"),
    path("reviews/<int:review_id>/findings/", review.finding_add, name="finding_new"),
    path("findings/", finding.finding_list, name="findings"),
    path("findings/<int:finding_id>/", finding.finding, name="finding"),
    path("findings/<int:finding_id>/withdraw/", finding.finding_withdraw, name="finding_withdraw"),
]
