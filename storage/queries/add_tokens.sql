INSERT INTO enrolment_token (gateway_id, token_sha256, created_by, expires_at)
SELECT gateway_id, token_sha256, %(actor)s, now() + %(lifetime)s
  FROM unnest(%(gateway_ids)s::int[], %(hashes)s::bytea[]) AS fresh (gateway_id, token_sha256)
RETURNING expires_at
