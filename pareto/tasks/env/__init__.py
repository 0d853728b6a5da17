"""Gymnasium environments with vector rewards as something to learn on and be scored by."""
