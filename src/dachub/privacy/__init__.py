"""What is kept of people, for how long, and how they take it along or away."""
