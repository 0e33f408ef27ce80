SELECT tenant, recipient_group AS "group", role, kid, cose_key, valid_from, valid_until, retired_at
  FROM recipient
  JOIN council ON council.id = council_id
 WHERE %(tenant)s::text IS NULL OR tenant = %(tenant)s
 ORDER BY tenant, recipient_group, valid_from, recipient.id
