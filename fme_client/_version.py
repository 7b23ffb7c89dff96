"""Who we are in what is sent. It imports nothing, for those who take `transport` alone."""

NAME = "cohort-gateway-python-client"
VERSION = "0.1.0"
