"""What can be done with sessions, recordings and reviews: a verb per function."""

from sessions.services.files import FileFacts, open_kept_copy, save_file_operations
from sessions.services.lifecycle import (
    ChannelFacts,
    OpenForm,
    Totals,
    end_session,
    kill,
    mark_live,
    open_session,
    recover_abandoned,
    recover_crashed,
    refuse_channel,
    save_channel,
)
from sessions.services.recordings import open_replay, seal_due, seal_recording
from sessions.services.reviews import chase_overdue, open_due_reviews, open_review, sign_review

__all__ = [
    "ChannelFacts",
    "FileFacts",
    "OpenForm",
    "Totals",
    "chase_overdue",
    "end_session",
    "kill",
    "mark_live",
    "open_due_reviews",
    "open_kept_copy",
    "open_replay",
    "open_review",
    "open_session",
    "recover_abandoned",
    "recover_crashed",
    "refuse_channel",
    "save_channel",
    "save_file_operations",
    "seal_due",
    "seal_recording",
    "sign_review",
]
