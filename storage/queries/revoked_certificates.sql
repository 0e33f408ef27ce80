SELECT serial, status_at, status = 'suspended'
  FROM gateway_certificate
  JOIN gateway ON gateway.id = gateway_id
  JOIN council ON council.id = council_id
 WHERE tenant = %(tenant)s
   AND status IN ('suspended', 'revoked')
   AND not_after > %(now)s
 ORDER BY issued_at, serial
