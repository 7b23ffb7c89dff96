"""The projection: what the receiver writes of its lists into Redis, so that gateways can ask."""
