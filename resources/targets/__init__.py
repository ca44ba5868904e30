"""Descriptions of targets; read through ``engine.target.target``."""
