-- How many workers those have who hold a lock of the same class for another number of them.
SELECT DISTINCT objid::bigint
  FROM pg_locks
 WHERE locktype = 'advisory'
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND classid::bigint = %(count_class)s
   AND objid::bigint NOT IN (0, %(workers)s)
   AND objsubid = 2
   AND granted
