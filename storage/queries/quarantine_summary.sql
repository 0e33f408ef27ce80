SELECT reason, state, count(*) AS n, count(DISTINCT device) AS devices, count(message) AS messages,
       min(received_at) AS first_at, max(received_at) AS last_at
  FROM quarantine
 WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s::bigint[]))
   AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
   AND (%(device)s::text IS NULL OR device = %(device)s)
   AND (%(reason)s::text IS NULL OR reason = %(reason)s)
   AND (%(states)s::text[] IS NULL OR state = ANY (%(states)s))
   AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
 GROUP BY reason, state
 ORDER BY n DESC, reason, state
