"""What the Kafka sink is made of."""
