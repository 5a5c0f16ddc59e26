"""What a run leaves: its directory, checkpoint, accounts and labelled rows."""
