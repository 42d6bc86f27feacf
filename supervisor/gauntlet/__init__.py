"""The gauntlet: failure modes in live sessions of the real CLI, with and without Lucid."""
