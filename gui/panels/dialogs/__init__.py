"""What the window asks the user: files, samples, and what to do with unsaved work."""
