"""The round loop, what is prepared before it, and what is made beside it."""
