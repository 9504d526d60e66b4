"""Checks of this project's own, with composition and code."""
