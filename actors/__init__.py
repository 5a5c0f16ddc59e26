"""Everything that is a Ray actor or task: thin shells around the plain classes of `pipeline`."""
