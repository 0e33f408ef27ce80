SELECT api_key.id, tenant, api_key.name, scopes, rate_class, created_at, created_by, expires_at, revoked_at, last_used_on
  FROM api_key
  LEFT JOIN council ON council.id = council_id
 WHERE (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
   AND (%(key_id)s::int IS NULL OR api_key.id = %(key_id)s)
 ORDER BY api_key.id DESC
