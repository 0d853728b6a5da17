"""Vector-reward trainers: from pairs labelled under several objectives to policies."""
