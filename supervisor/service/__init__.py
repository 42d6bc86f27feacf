"""The service that a sidecar or a worker shows: hooks, health, metrics, the API, live events.

`app` puts the ASGI application together, `serving` runs it on an address, `operations` is the
table that both the routes and the published OpenAPI document are made from.
"""
