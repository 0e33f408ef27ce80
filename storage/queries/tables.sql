-- Our tables, without partitions and chunks, in the schema that `observation` is in. Of a generated column that which
-- it is generated from is enough.
SELECT relname,
       array_agg(attname::text ORDER BY attnum),
       array_agg(format_type(atttypid, atttypmod) ORDER BY attnum)
  FROM pg_class
  JOIN pg_attribute ON attrelid = pg_class.oid
 WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('observation'))
   AND relkind IN ('r', 'p')
   AND NOT relispartition
   AND relname = ANY (%(ours)s)
   AND attnum > 0
   AND NOT attisdropped
   AND attgenerated = ''
 GROUP BY relname
 ORDER BY relname
