"""The `asvp` command, a file for each command."""
