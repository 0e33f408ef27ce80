SELECT tenant, device, newest.message
  FROM gateway
  JOIN council ON council.id = council_id
 CROSS JOIN LATERAL (
       SELECT message, expires_at
         FROM gateway_configuration
        WHERE gateway_id = gateway.id
          AND message IS NOT NULL
        ORDER BY version DESC
        LIMIT 1
       ) AS newest
 WHERE (%(device)s::text IS NULL OR device = %(device)s)
   AND newest.expires_at > now()
   AND status <> 'revoked'
