"""The lab: a small language task that can be enumerated, so that truth is known."""
