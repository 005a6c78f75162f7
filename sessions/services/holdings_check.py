"""Is what belongs to a recording there: the copies that were kept of files? And was what is gone deleted by policy?"""

from __future__ import annotations

from sessions.models import FileOperation, Recording
from sessions.recording import kept
from sessions.recording.keyring import Keyring
from sessions.recording.sealed import RecordingDamaged
from sessions.services import holdings, retention
from sessions.services.remote import StoreAway, remote_store


def kept_problem(recording: Recording, keys: Keyring) -> str:
    """What is wrong with the first kept copy that isn't as it was kept, or nothing. StoreAway."""
    rows = (
        FileOperation.objects.filter(session=recording.session).exclude(kept="").order_by("channel", "number")
    )
    for row in rows.iterator():
        path = holdings.store().kept_path(recording.session_id, row.channel, row.number)
        try:
            found = holdings.open_file(recording, path)
            with found.source:
                kept.check_kept_source(path, found.source, found.newer_wrap, keys, row.sha256)
        except FileNotFoundError:
            return f"kept copy {row.label}: it is missing"
        except OSError as error:
            return f"kept copy {row.label}: it can't be read: {error}"
        except RecordingDamaged as damage:
            return f"kept copy {row.label}: {damage.what}"
    return ""


def deletion(recording: Recording) -> tuple[bool, str]:
    """Of one that the database calls deleted: whether the audit trail tells the same, and what there is to say."""
    row = retention.deletion_row(recording)
    if row is None:
        return False, "the database calls it deleted, the audit trail knows nothing of that"
    if row.data.get("sha256") != recording.sha256:
        return False, f"row {row.seq} of the audit trail tells that another recording was deleted"
    said = f"deleted by policy at {row.at:%Y-%m-%d %H:%M:%S} UTC, row {row.seq}; it was {recording.sha256}"
    if recording.local_removed_at is None or recording.stored_at is not None:
        return True, f"{said}; its files wait to be removed"
    left = [holdings.name_of(path) for path in holdings.local_files(recording.session_id)]
    try:
        remote = remote_store()
        left += holdings.remote_names(recording.session_id, remote) if remote else []
    except StoreAway as error:
        said += f"; whether the object store has let go of it can't be seen: {error}"
    if left:
        return False, f"{said}, but {left[0]} is there"
    return True, said
