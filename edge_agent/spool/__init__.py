"""Readings on the disk, until the centre has proved that it has them."""
