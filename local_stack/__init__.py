"""Everything on one machine: the bundled store, and the services started and stopped together with it."""
