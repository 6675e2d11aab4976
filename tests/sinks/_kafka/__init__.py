"""Tests of what the Kafka sink is made of."""
