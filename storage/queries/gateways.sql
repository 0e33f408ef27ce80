-- A key that ended long ago says nothing any more, but its row stays: no kid is ever taken again.
SELECT gateway.id, council_id, tenant, device, status, gateway_description.sha256, kid, cose_key,
       extract(epoch FROM valid_from)::bigint, extract(epoch FROM valid_until)::bigint,
       superseded_at IS NOT NULL
  FROM gateway
  JOIN council ON council.id = council_id
  LEFT JOIN gateway_description ON gateway_description.gateway_id = gateway.id
  LEFT JOIN signing_key
    ON signing_key.gateway_id = gateway.id
   AND valid_until > now() - %(remembered)s
 WHERE %(device)s::text IS NULL OR device = %(device)s
 ORDER BY gateway.id
