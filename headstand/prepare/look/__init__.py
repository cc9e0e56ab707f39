"""The look: what the prepared photos are like, as plots, a sheet of each class, and one page."""
