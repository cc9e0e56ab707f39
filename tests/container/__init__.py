"""The Lambda container built and run for `make test-container`; not collected with the other tests."""
