"""What is seen of a run, where and when."""
