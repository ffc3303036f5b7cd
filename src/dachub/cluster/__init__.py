"""What only a deployment over several machines needs to know."""
