SELECT to_date(substr(relname, length('observation_') + 1), 'YYYY_MM')
  FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
 WHERE inhparent = 'observation'::regclass
   AND relname ~ '^observation_[0-9]{4}_[0-9]{2}$'
