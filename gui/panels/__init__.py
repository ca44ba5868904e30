"""The window's panels: one folder each, with a Qt-free model and a thin widget."""
