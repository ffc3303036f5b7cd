"""The ledger: what happened to sessions, and what was used."""
