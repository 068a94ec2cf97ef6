"""Second derivatives of J: products with directions, and what is made of them."""
