"""How snapshots become fewer bytes, one way a file."""
