-- The version is the time in Unix seconds, or one more than the newest if that is not above it: so it rises even after
-- an older backup of the database was restored, which has forgotten the versions that the gateway has seen since.
INSERT INTO gateway_configuration (gateway_id, version, settings, requested_by, expires_at)
SELECT %(gateway_id)s, greatest(max(version) + 1, floor(extract(epoch FROM now()))::bigint), %(settings)s, %(actor)s,
       now() + %(lifetime)s
  FROM gateway_configuration
 WHERE gateway_id = %(gateway_id)s
RETURNING version
