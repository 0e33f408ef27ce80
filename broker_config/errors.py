"""What goes wrong with a running broker; mistakes in a description are `network.NetworkError`."""


class BrokerError(Exception):
    """The broker could not be found, started, reloaded or reached; with its own words if any."""


class BrokerRefusedError(BrokerError):
    """The broker runs, and would not take its new configuration."""
