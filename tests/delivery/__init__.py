"""Tests of repltap.delivery."""
