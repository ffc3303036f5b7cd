"""Puts the platform where it is to run: what ``dachub deploy`` writes and does."""
