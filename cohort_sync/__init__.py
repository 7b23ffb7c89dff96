"""The write side: Heap's webhook, and the administration of lists."""
