"""Open data over HTTP: the catalogue, linked data, and files to download."""
