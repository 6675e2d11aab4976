"""Tests of repltap.delivery._hot."""
