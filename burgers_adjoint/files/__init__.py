"""Files on disk: whole or not at all, HDF5 in and out."""
