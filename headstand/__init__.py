"""Headstand: a good image classifier from a folder of photos, served safely."""

__version__ = "0.1.0"
