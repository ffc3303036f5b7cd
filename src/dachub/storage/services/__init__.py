"""The rules of storage."""
