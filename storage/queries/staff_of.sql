SELECT staff_pass.id AS pass_id, staff_pass.name, role, tenant
  FROM staff_session
  JOIN staff_pass ON staff_pass.id = staff_pass_id
  LEFT JOIN council ON council.id = council_id
 WHERE session_sha256 = %(sha256)s
   AND staff_session.expires_at > %(now)s
   AND ended_at IS NULL
   AND withdrawn_at IS NULL
