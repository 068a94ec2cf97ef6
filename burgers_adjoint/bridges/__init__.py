"""Ways from J and its gradient into other packages, a file for each."""
