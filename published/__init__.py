"""What one service tells the others through Redis: one writes, they only read."""
