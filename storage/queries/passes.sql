SELECT staff_pass.id, tenant, staff_pass.name, role, created_at, created_by, expires_at, withdrawn_at
  FROM staff_pass
  LEFT JOIN council ON council.id = council_id
 WHERE %(tenant)s::text IS NULL OR tenant = %(tenant)s
 ORDER BY staff_pass.id DESC
