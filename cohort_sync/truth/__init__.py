"""The truth of the write side: accepted facts in a transactional database, folded into the state of each list."""
