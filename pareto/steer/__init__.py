"""Inference-time weights: from a policy set and a weight vector to one policy."""
