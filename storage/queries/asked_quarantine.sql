-- Announcements first: what they open may have been asked for with them.
SELECT id, tries, tenant, device, topic, message, extract(epoch FROM received_at)::bigint, senml_name,
       (extract(epoch FROM phenomenon_time) * 1000000)::bigint, result, unit, quality
  FROM quarantine
 WHERE state = 'asked' AND device = ANY (%(devices)s) AND id <> ALL (%(under_way)s::bigint[])
 ORDER BY split_part(topic, '/', 5) <> 'k', id
 LIMIT %(limit)s
