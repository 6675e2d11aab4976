"""Tests of what the file sink is made of."""
