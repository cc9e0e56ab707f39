"""Tracking: what a run does while it runs, for people and programs to follow."""
