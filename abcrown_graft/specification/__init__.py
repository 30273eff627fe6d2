"""What is to be proved: properties as boxes and clauses, and how they are made of images."""
