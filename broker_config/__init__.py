"""One declarative network description, and what brokers make of it.

`network` holds the description and reads and writes it as TOML; `mosquitto` and `nats` render it,
purely, as each broker's configuration; `files` puts a rendering on disk with certificates and
revocation lists; `keeper` keeps a running broker to the description, ends the sessions of gateways
left out and notes in `taken` how far it came; `embedded` runs a broker on this machine. `nodes`,
`stream` and `cluster` are what NATS in several nodes needs. `readers` is the broker apart from that
where everybody may subscribe to open data. Nothing here publishes or subscribes, and no certificate
is made here but the keeper's own, which signs nothing and opens only the listener on loopback that
trusts it alone.
"""
