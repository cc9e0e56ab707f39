"""Exploratory data analysis of a prepared dataset: plots, sample photos of each class, and an HTML report."""
