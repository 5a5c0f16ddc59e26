"""Ready spaces, a module each."""
