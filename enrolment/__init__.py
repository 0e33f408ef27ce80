"""The certificate service: the only holder of certificate authority keys.

`policy` says what every certificate says, `issuing` builds them, `authority` holds the keys, in
`files` of its own directory. `est` and `tls` answer gateways; `certification` decides, with `csr`,
`peer` and `guessing`, who gets a certificate, and `refusal` says why somebody does not. `upkeep`
does the service's other `duties`: revocation lists, key sets, settings, the broker. `service`
runs it all.
"""
