"""Importance matrices: their file format, and computing one from a text."""
