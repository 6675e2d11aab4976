"""Tests of repltap.protocol: dialogues, without sockets or sleeps."""
