INSERT INTO staff_pass (council_id, name, role, pass_sha256, created_by, expires_at)
VALUES (%(council_id)s, %(name)s, %(role)s, %(pass_sha256)s, %(actor)s, %(expires_at)s)
RETURNING id
