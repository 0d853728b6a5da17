"""Multi-objective reinforcement learning: policies for environments with vector rewards."""
