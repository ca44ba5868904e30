"""What the window knows: the open model, the plan with its history, and the latest results."""
