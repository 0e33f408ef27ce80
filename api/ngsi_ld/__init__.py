"""The NGSI-LD API (ETSI GS CIM 009) over HTTP, for reading: routes, negotiation, contexts.

What is asked and how it is written is said in `standards_mapping.ngsi_ld`, and read by
`storage.ngsi_ld`.
"""
