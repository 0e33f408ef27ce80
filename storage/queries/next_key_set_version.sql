SELECT greatest(
           (SELECT max(version) FROM key_set WHERE council_id = council.id) + 1,
           floor(extract(epoch FROM now()))::bigint
       )
  FROM council
 WHERE tenant = %(tenant)s
