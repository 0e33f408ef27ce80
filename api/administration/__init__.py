"""What a council does with its gateways in a browser: list, invite, revoke, change settings."""
