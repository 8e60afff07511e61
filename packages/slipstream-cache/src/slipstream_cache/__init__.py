"""Memory-mapped sample caches."""
