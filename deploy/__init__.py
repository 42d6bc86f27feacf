"""How Lucid is deployed: see docs/operate.md."""
