"""From transcripts to entries: finding files, reading lines, typing records."""
