"""What codecs learn from states."""
