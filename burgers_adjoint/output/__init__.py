"""What a run leaves behind: files, pictures, and words on the screen."""
