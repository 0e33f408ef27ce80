INSERT INTO key_set (council_id, version, message, issued_at, soft_expiry, hard_expiry)
SELECT id, %(version)s, %(message)s, to_timestamp(%(issued_at)s), to_timestamp(%(soft_expiry)s),
       to_timestamp(%(hard_expiry)s)
  FROM council
 WHERE tenant = %(tenant)s
