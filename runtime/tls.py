"""Mutual TLS as every Kerbstone client speaks it. Issuing certificates is enrolment's business."""

import ssl
from pathlib import Path


def client_context(*, ca_file: Path, certificate_file: Path, key_file: Path) -> ssl.SSLContext:
    """Return a context for TLS 1.3 only, trusting `ca_file` alone and checking the host's name.

    Raises:
        OSError: a file cannot be read, or (ssl.SSLError) certificate and key do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cafile=ca_file)
    context.load_cert_chain(certfile=certificate_file, keyfile=key_file)
    return context
