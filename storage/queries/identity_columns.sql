SELECT relname, attname, pg_get_serial_sequence(quote_ident(relname), attname)
  FROM pg_class
  JOIN pg_attribute ON attrelid = pg_class.oid
 WHERE relname = ANY (%(tables)s)
   AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('observation'))
   AND attidentity <> ''
 ORDER BY 1, 2
