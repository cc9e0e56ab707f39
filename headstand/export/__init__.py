"""Export: from a checkpoint to the one file that is served."""
