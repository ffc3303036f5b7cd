"""SQL over every table that holds something of people."""
