"""The Python SDK. Empty so far: `evaluation` and the client over HTTP come next."""
