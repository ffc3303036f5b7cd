"""SQL of storage, and the file systems' own ways to measure and limit."""
