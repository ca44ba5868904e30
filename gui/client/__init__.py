"""The window's side of the engine process: frames, the process itself, requests, and the live session."""
