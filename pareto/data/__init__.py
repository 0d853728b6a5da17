"""Preference rows to checked, tokenised, columnar pairs."""
