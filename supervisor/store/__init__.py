"""Where sessions are kept: the `Store` interface, and SQLite behind it."""
