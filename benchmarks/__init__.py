"""Measurements that ``make bench`` repeats; ``docs/performance.md`` says what they mean."""
