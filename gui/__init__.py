"""Quantscope's window; it imports plain types of the engine and never a model library."""
