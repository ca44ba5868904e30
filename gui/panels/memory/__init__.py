"""What occupies memory over the time of a frame."""
