"""What every test may ask for, wherever it lives."""

pytest_plugins = ["tests.integration.fix_brokers"]
