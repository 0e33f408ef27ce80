"""OGC SensorThings API 1.1 (OGC 18-088) over HTTP: `routes.router()` is all there is to include.

`reads` answers what is asked: `answer` puts entities together, `formats` writes them otherwise than
as JSON. `writes` creates and changes what is kept by hand, `batch` does several requests in one.
What is asked and how it is written is `standards_mapping.sensorthings`, where it is kept
`storage.sensorthings`.
"""
