"""Checkpoints of an agent's working folder, kept as git objects in a store of Lucid's own.

`FileCheckpoints` is the way in; see `docs/files.md`. The folder and everything in it are
untrusted: whatever a repository's configuration, attributes or links say, no program
named there is run, and nothing is written outside the folder or into its `.git`.
"""
