"""What the gateway tells about itself: as readings, as a status file, as metrics."""
