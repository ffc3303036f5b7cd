"""Backup and restore of everything that cannot be made again; homes are the site's own matter."""
