"""Batteries behind their converters: read, ordered, watched, and helping within the second."""
