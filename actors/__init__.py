"""Everything that is a Ray actor or task: thin shells around the plain classes of the rest of `asvp`."""
