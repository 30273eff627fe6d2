"""VNN-LIB properties, `instances.csv`, and what the competition's other tools read."""
