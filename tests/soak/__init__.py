"""The fault soak: real servers in random topologies, random faults under load, equal data after."""
