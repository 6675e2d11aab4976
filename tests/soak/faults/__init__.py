"""What can go wrong: one class a fault, one module a kind, all of them listed in `catalogue`."""
