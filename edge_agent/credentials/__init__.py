"""Who this gateway is: its keys and certificates, how it gets them, keeps them and renews them."""
