"""Scripts that run what nobody here wrote, each in a process of its own."""
