"""Tests of the sinks that ship, and the contract that every sink keeps."""
