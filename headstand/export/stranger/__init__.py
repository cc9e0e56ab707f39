"""Strangers: classifiers that somebody else trained, brought in without running anything that their files bring along.

`classifier.load` makes one of a file, `labels.read` reads its labels. Here nothing is imported: the process that reads
a file must start quickly, without Keras.
"""
