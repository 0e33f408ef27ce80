SELECT id
  FROM gateway
 WHERE id = (SELECT gateway_id FROM enrolment_token WHERE token_sha256 = %(token_sha256)s)
   FOR NO KEY UPDATE
