"""Notices: what the platform tells people, once each, where they want it."""
