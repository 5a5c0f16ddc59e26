"""What this package adds to asvp: a strategy, a source of rows, and a search space."""
