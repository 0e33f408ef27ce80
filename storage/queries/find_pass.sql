SELECT staff_pass.id AS pass_id, staff_pass.name, role, tenant
  FROM staff_pass
  LEFT JOIN council ON council.id = council_id
 WHERE staff_pass.id = %(pass_id)s
