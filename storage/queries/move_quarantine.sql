-- Of the chosen rows a portion goes to another state; a part of a description cannot be tried again by itself.
WITH chosen AS (
    SELECT id
      FROM quarantine
     WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s::bigint[]))
       AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
       AND (%(device)s::text IS NULL OR device = %(device)s)
       AND (%(reason)s::text IS NULL OR reason = %(reason)s)
       AND state = ANY (%(states)s)
       AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
       AND (%(begun)s::timestamptz IS NULL OR asked_at IS NULL OR asked_at < %(begun)s)
       AND (NOT %(readmissible)s OR message IS NOT NULL
            OR senml_name IS NOT NULL AND phenomenon_time IS NOT NULL AND result IS NOT NULL)
     ORDER BY id
     LIMIT %(limit)s
       FOR UPDATE
), moved AS (
    UPDATE quarantine
       SET state = %(state)s,
           asked_at = CASE WHEN %(state)s = 'asked' THEN now() ELSE asked_at END
     WHERE id IN (SELECT id FROM chosen)
    RETURNING id, tenant, device, reason
)
SELECT tenant, device, reason, array_agg(id ORDER BY id) AS ids
  FROM moved
 GROUP BY tenant, device, reason
 ORDER BY tenant, device, reason
