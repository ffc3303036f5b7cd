"""The ledger: sessions, segments, usage, allocations, and the decision whether a server may start."""
