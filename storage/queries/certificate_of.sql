SELECT certificate
  FROM gateway_certificate
  JOIN gateway ON gateway.id = gateway_certificate.gateway_id
  JOIN signing_key ON signing_key.kid = gateway_certificate.kid
 WHERE device = %(device)s
   AND gateway_certificate.kid = %(kid)s
   AND superseded_at IS NULL
   AND certificate IS NOT NULL
 ORDER BY issued_at DESC
 LIMIT 1
