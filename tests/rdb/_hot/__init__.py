"""Tests of repltap.rdb._hot."""
