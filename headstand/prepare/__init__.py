"""Prepare: from a source of images to class folders, split and listed."""
