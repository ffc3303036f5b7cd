"""The ledger: sessions, segments, usage, allocations; may a server start?"""
