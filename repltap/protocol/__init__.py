"""The replication protocol as pure state machines: bytes and time in, events and bytes out."""
