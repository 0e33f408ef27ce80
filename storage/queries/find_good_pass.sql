SELECT staff_pass.id AS pass_id, staff_pass.name, role, tenant
  FROM staff_pass
  LEFT JOIN council ON council.id = council_id
 WHERE pass_sha256 = %(sha256)s
   AND expires_at > %(now)s
   AND withdrawn_at IS NULL
