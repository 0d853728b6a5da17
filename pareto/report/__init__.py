"""Reports: pure functions of run folders."""
