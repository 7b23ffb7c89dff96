"""What the gateway tells the other services through Redis. The gateway writes, they only read."""
