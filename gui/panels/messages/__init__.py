"""What the window tells the user without stopping the work: notices above the graph, progress in the
status bar.
"""
