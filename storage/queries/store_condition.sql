SELECT pg_database_size(current_database()),
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean,
       (SELECT count(*) FROM (SELECT FROM rollup_log LIMIT %(most)s) AS entry),
       (SELECT count(*) FROM pg_stat_replication),
       (SELECT extract(epoch FROM max(replay_lag))::float8 FROM pg_stat_replication)
