"""Kinds of stored policies: one file a kind, each with a loader from a run folder."""
