"""A cluster that extracts, in simulation and on local nodes: how much of it works, and what it waits for."""
