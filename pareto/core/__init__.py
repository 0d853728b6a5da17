"""The single-objective DPO-family core: token log-probabilities, reference cache, losses, the one training loop."""
