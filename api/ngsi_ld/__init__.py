"""The NGSI-LD API (ETSI GS CIM 009) over HTTP, for reading.

`questions` reads what a request asks, with `negotiation` of media types and terms; `answer` and
`discovery` make JSON of it, from what `provider` lends; `responses` and `routes` are HTTP. What is
asked and how it is written is said in `standards_mapping.ngsi_ld`, and read by `storage.ngsi_ld`.
"""
