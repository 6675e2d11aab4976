"""repltap: a replication relay and tap for Redis and Valkey."""
