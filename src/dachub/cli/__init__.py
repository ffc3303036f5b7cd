"""The `dachub` command: one file a noun; translates, nothing more."""
