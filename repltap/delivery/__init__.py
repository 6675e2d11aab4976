"""Turning the stored stream into records for sinks: decoding, filtering, rendering."""
