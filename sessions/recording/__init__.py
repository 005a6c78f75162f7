"""Recordings: written before the person sees a byte, sealed when the session ends, readable for ever after."""
