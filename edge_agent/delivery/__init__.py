"""Readings on their way: what is sent next, sealed for whom, and over which connection."""
