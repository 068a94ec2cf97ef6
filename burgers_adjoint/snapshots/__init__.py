"""Where snapshots live during the reverse sweep."""
