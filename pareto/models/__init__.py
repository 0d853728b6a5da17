"""What both training and steering need: adapters, generation, text policies, reward models."""
