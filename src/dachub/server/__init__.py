"""The service's edges: REST API, portal pages, background workers."""
