-- A key that is neither expired nor revoked, with the councils that its scopes are for.
SELECT
    api_key.id,
    api_key.name,
    key_sha256,
    tenant,
    scopes,
    rate_class,
    last_used_on,
    CASE WHEN council_id IS NULL THEN ARRAY(SELECT id::int FROM council) ELSE ARRAY[council_id::int] END AS councils
FROM api_key
LEFT JOIN council ON council.id = council_id
WHERE key_sha256 = %(key_sha256)s
  AND expires_at > %(now)s
  AND revoked_at IS NULL
