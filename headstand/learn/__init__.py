"""Learn: from prepared photos to a trained, evaluated checkpoint."""
