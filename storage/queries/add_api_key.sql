INSERT INTO api_key (council_id, name, key_sha256, scopes, rate_class, created_by, expires_at)
VALUES (%(council_id)s, %(name)s, %(key_sha256)s, %(scopes)s, %(rate_class)s, %(actor)s, %(expires_at)s)
RETURNING id
