"""What a strategy asks of the rows, in one process or where the shards lie."""
