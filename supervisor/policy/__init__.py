"""Policies: YAML to `Policy` (`load`), and `decide`, what to do for a verdict (`engine`)."""
