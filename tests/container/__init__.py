"""Builds, runs and tests the Lambda container (`make test-container`); not collected with the other tests."""
