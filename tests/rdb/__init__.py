"""Tests of repltap.rdb."""
