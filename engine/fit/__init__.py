"""Fitting a target's figures to measurements on a board: ``quantscope targets fit``."""
