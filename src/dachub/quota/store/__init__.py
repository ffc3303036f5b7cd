"""SQL of allocations and quotas."""
