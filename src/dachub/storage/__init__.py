"""Storage of people and groups: samplers, history, quotas, rescue."""
