SELECT (SELECT relkind FROM pg_class WHERE oid = to_regclass('observation')) = 'p',
       EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')
