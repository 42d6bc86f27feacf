"""Recovery actions: one action a file, found by package scan."""
