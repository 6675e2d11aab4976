"""Benchmarks: the relay against a chained redis-server, in the same run. See `__main__`."""
