"""What the redis sink is made of."""
