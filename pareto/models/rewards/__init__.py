"""Named scorers of replies: built-in rules, Hugging Face classifiers, a user's own function."""
