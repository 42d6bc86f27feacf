"""Failure detectors: one failure mode a file, found by package scan."""
