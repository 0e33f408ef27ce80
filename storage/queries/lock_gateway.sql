SELECT gateway.id, tenant, device, status, site
  FROM gateway
  JOIN council ON council.id = council_id
 WHERE device = %(device)s
   FOR NO KEY UPDATE OF gateway
