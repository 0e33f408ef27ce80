-- What was superseded stays so, whatever becomes of its gateway.
SELECT serial,
       coalesce(superseded_at, status_at),
       superseded_at IS NULL AND status = 'suspended',
       superseded_at IS NOT NULL
  FROM gateway_certificate
  JOIN gateway ON gateway.id = gateway_certificate.gateway_id
  JOIN council ON council.id = council_id
  LEFT JOIN signing_key ON signing_key.kid = gateway_certificate.kid
 WHERE tenant = %(tenant)s
   AND (status IN ('suspended', 'revoked') OR superseded_at IS NOT NULL)
   AND not_after > %(now)s
 ORDER BY issued_at, serial
