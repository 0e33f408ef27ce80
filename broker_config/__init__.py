"""One declarative network description, and what brokers make of it.

`network` holds the description and reads and writes it as TOML; `mosquitto` and `nats`
render it, purely, as each broker's configuration; `files` puts a rendering on disk;
`embedded` runs a broker on this machine. Nothing here publishes or subscribes, and no
certificate is made here.
"""
