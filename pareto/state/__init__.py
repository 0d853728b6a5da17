"""What must survive: atomic writes, manifests, checkpoints, random states, metric logs."""
