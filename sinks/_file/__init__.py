"""What the file sink is made of."""
