"""What users were shown, back to Heap: exposures of VWO, Optimizely and Statsig, and events of any kind."""
