SELECT enrolment_token.id AS token_id,
       gateway_id,
       tenant,
       device,
       status,
       expires_at,
       used_kid,
       withdrawn_at IS NOT NULL AS withdrawn,
       expires_at <= %(now)s AS expired
  FROM enrolment_token
  JOIN gateway ON gateway.id = gateway_id
  JOIN council ON council.id = council_id
 WHERE token_sha256 = %(token_sha256)s
