"""Watching as it happens: the recording of an open session, read while it grows."""
