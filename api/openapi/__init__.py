"""What programs may ask of the service, as an OpenAPI 3.1 document and as a page for people.

`model` says what an operation consists of; the modules beside it describe the operations of each
standard; `document` puts them together and `pages` serves them. What is described here is tested
against the routes, both ways.
"""
