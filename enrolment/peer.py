"""Who a client's certificate says it is, once it holds as a gateway's of that council. Pure.

TLS has proved that the client holds the key and that some council's root signed the certificate;
which council's, and what for, is asked here. Whether the registry still knows it is
`enrolment.certification`'s question.
"""

from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from device_protocol.errors import SignerError, SignerTimeError
from device_protocol.identity import DAMAGED, check_chain, device_of
from enrolment import policy
from enrolment.issuing import is_as
from enrolment.refusal import RefusedError


def gateway_of(
    certificate: x509.Certificate, root: x509.Certificate, tenant: str, now: datetime
) -> str:
    """Return the device a certificate was issued to under this council's root.

    Raises:
        RefusedError: another council's or nobody's (certificate-foreign), not valid at `now`
            (certificate-time), or not one of a gateway (certificate-foreign).
    """
    try:
        check_chain([certificate], root, int(now.timestamp()), ExtendedKeyUsageOID.CLIENT_AUTH)
        device = device_of(certificate)
        is_gateways = is_as(certificate, policy.gateway(tenant, device))
    except SignerTimeError as error:
        raise RefusedError("certificate-time", str(error)) from error
    except (SignerError, *DAMAGED) as error:
        raise RefusedError("certificate-foreign", str(error)) from error
    if not is_gateways:
        raise RefusedError("certificate-foreign", f"not a gateway's certificate of {tenant!r}")
    return device
