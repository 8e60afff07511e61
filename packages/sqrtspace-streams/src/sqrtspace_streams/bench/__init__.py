"""The bench matrix: a demonstration over data sets of three sizes, under a memory limit."""
