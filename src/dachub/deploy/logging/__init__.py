"""A store of logs made ready: templates, retention, searches and a dashboard."""

from dachub.deploy.logging.store import LogStoreRefused, Outcome, prepare

__all__ = ["LogStoreRefused", "Outcome", "prepare"]
