INSERT INTO gateway_configuration (gateway_id, version, settings, requested_by, expires_at)
SELECT %(gateway_id)s, coalesce(max(version), 0) + 1, %(settings)s, %(actor)s, now() + %(lifetime)s
  FROM gateway_configuration
 WHERE gateway_id = %(gateway_id)s
RETURNING version
