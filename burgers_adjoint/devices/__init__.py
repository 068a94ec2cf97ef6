"""Graphics processors: arrays on them, what is computed there, and how data goes there and back."""
