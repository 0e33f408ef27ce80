SELECT tenant, newest.message
  FROM council
 CROSS JOIN LATERAL (
       SELECT message FROM key_set WHERE council_id = council.id ORDER BY version DESC LIMIT 1
       ) AS newest
