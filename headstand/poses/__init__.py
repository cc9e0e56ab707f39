"""Heatmaps of body joints and rendered people: a second kind of input, its backbone and its data sources."""
