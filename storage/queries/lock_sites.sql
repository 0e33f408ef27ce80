SELECT id
  FROM gateway
 WHERE council_id = %(council_id)s
   AND site = ANY(%(sites)s)
   AND status <> 'revoked'
 ORDER BY id
   FOR NO KEY UPDATE
