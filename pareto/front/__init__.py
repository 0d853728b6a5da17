"""Hypervolume tools: validation gate, dominance, hypervolume, indicators, intervals. No torch."""
