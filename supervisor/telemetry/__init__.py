"""What Lucid tells other systems about itself: OpenTelemetry, and its own logs."""
