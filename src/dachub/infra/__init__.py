"""What every domain stands on: the database, the clock, logging; no rules of the platform."""
