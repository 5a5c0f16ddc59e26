"""Search spaces, and the sweep that runs them with Ray Tune."""
