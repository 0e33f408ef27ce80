"""The entities of NGSI-LD as the database has them, read within one transaction a request.

`reader` is the source that requests are answered from. `members` tells which entities there are,
`examined` which of them a query accepts, `census` what types and attributes there are; `aggregate`
is what SQL makes of histories. How registry and results become entities is said in
`standards_mapping.ngsi_ld`.
"""
