"""Ways in which a gradient can be wrong, tried on a case."""
