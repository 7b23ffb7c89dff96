"""Durable streams in Redis: written through outages, delivered at least once and in order, with dead letters."""
