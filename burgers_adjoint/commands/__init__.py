"""What a user can ask for, one command one file; how it is asked, and how processes end."""
