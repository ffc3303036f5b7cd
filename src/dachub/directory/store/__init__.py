"""The only place with SQL on the directory's tables; returns models, not rows."""
