"""What can be done with sessions, recordings and reviews: a verb per function."""

from sessions.services.files import FileFacts, open_kept_copy, save_file_operations
from sessions.services.freezing import freeze, unfreeze
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
from sessions.services.receipts import Cut
from sessions.services.receipts import complete as complete_receipt
from sessions.services.recordings import open_replay, read_recording, seal_due, seal_recording
from sessions.services.retention import delete_due, hold, unhold
from sessions.services.reviews import chase_overdue, escalate_overdue, open_due_reviews, open_review
from sessions.services.signing import sign_review
from sessions.services.storing import store_due, store_recording

__all__ = [
    "ChannelFacts",
    "Cut",
    "FileFacts",
    "OpenForm",
    "Totals",
    "chase_overdue",
    "complete_receipt",
    "delete_due",
    "end_session",
    "escalate_overdue",
    "freeze",
    "hold",
    "kill",
    "mark_live",
    "open_due_reviews",
    "open_kept_copy",
    "open_replay",
    "open_review",
    "open_session",
    "read_recording",
    "recover_abandoned",
    "recover_crashed",
    "refuse_channel",
    "save_channel",
    "save_file_operations",
    "seal_due",
    "seal_recording",
    "sign_review",
    "store_due",
    "store_recording",
    "unfreeze",
    "unhold",
]
