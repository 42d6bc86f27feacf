"""The shell around the pure core: sessions, agents, plugins, recovery under way."""
