SELECT device, tenant, version, settings, requested_at, expires_at
  FROM gateway_configuration AS newest
  JOIN gateway ON gateway.id = gateway_id
  JOIN council ON council.id = council_id
 WHERE message IS NULL
   AND expires_at > now()
   AND status <> 'revoked'
   AND NOT EXISTS (SELECT
                     FROM gateway_configuration AS later
                    WHERE later.gateway_id = newest.gateway_id
                      AND later.version > newest.version)
 ORDER BY requested_at
