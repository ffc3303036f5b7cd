"""SQL of storage."""
