SELECT DISTINCT conrelid::regclass::text, confrelid::regclass::text
  FROM pg_constraint
 WHERE contype = 'f'
   AND conrelid <> confrelid
   AND conrelid::regclass::text = ANY (%(tables)s)
