SELECT certificate
  FROM gateway_certificate
  JOIN gateway ON gateway.id = gateway_id
 WHERE device = %(device)s
   AND kid = %(kid)s
 ORDER BY issued_at DESC
 LIMIT 1
