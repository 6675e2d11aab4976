"""What is kept on disk: histories, journal segments, snapshots, checkpoints; no event loop."""
