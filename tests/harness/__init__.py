"""Real parts for tests: the whole platform, people who use it, a witness of what really ran."""
