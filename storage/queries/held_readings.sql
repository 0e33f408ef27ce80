SELECT id, topic, extract(epoch FROM received_at)::bigint, senml_name,
       (extract(epoch FROM phenomenon_time) * 1000000)::bigint, result, unit, quality
  FROM quarantine
 WHERE device = %(device)s AND reason = %(reason)s AND state = 'held'
   AND senml_name = ANY (%(names)s) AND phenomenon_time IS NOT NULL AND result IS NOT NULL
 ORDER BY id
 LIMIT 100000
