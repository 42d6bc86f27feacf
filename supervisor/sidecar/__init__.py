"""The sidecar: agents as they are, followed by their transcripts, steered through their hooks."""
