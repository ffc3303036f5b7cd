"""People's servers on one machine: accounts, homes, processes, limits; nothing of events."""
