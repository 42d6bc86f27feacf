"""How good the detectors are: measured on labelled traces, with the place of every miss."""
