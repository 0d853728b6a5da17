"""Studies: plan, store, engines, and the front they produce."""
