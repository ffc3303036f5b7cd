"""One machine: `dachub up` with embedded PostgreSQL and supervised processes."""
