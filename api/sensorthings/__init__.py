"""OGC SensorThings API 1.1 over HTTP, read-only: `routes.router()` is all there is to include.

What is asked and how it is written is `standards_mapping.sensorthings`, where it is kept
`storage.sensorthings`.
"""
