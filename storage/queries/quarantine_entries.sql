SELECT id, received_at, tenant, device, reason, first_reason, detail, topic, senml_name, phenomenon_time, result,
       unit, quality, state, asked_at, tries, tried_at, octet_length(message) AS message_bytes
  FROM quarantine
 WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s::bigint[]))
   AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
   AND (%(device)s::text IS NULL OR device = %(device)s)
   AND (%(reason)s::text IS NULL OR reason = %(reason)s)
   AND (%(states)s::text[] IS NULL OR state = ANY (%(states)s))
   AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
   AND (%(before)s::bigint IS NULL OR id < %(before)s)
 ORDER BY id DESC
 LIMIT %(limit)s
