-- Who holds a worker's number; name and address are hidden where the role is another.
SELECT pid, backend_start, coalesce(client_addr::text, 'this machine')
  FROM pg_locks
  JOIN pg_stat_activity USING (pid)
 WHERE locktype = 'advisory'
   AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND classid::bigint = %(number_class)s
   AND objid::bigint = %(worker)s
   AND objsubid = 2
   AND granted
