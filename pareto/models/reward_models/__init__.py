"""Reward models with a number per objective, read at the end of every step or of the reply: one form for all.

A reward model is a causal language model, a small head on its hidden states, and a rule that says where a step ends. How
the head was trained says what its numbers are:

- `value`: regression on step rewards shaped by how the reply ended (`targets`), where replies can be verified;
- `probability`: a classifier of good and bad steps;
- `score`: Bradley-Terry on pairs of whole replies, one dimension an objective, where nothing can be verified;
- `ridge`: `value` with a linear head in closed form, on a frozen model.

Labels that are not there are NaN and count for nothing.
"""
