"""What `gunicorn predict:app` runs with; the command line and GUNICORN_CMD_ARGS go before it."""

# Downloads wait and decoding runs outside Python's lock: threads share one model, where each worker would load its own.
threads = 4
# No socket through which other programs of this user could steer the service.
control_socket_disable = True
