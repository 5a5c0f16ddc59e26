"""Distances: exact lazy greedy picks without a pass over all rows for each pick."""
