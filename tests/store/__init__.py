"""Tests of repltap.store: files damaged on purpose, recovered, appended to, read again."""
