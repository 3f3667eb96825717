"""What people did with videos: kept, read, exported for training and deleted."""
