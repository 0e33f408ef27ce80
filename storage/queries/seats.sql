SELECT site,
       id AS gateway_id,
       device,
       status,
       (SELECT max(expires_at)
          FROM enrolment_token
         WHERE gateway_id = gateway.id
           AND used_at IS NULL
           AND withdrawn_at IS NULL
           AND expires_at > now()) AS open_until
  FROM gateway
 WHERE council_id = %(council_id)s
   AND site = ANY(%(sites)s)
   AND status <> 'revoked'
