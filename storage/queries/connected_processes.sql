SELECT DISTINCT application_name
  FROM pg_stat_activity
 WHERE datname = current_database()
   AND split_part(application_name, ' ', 1) = 'kerbstone'
   AND split_part(application_name, ' ', 2) IN ('analytics', 'demo', 'enrolment', 'ingest', 'serve')
 ORDER BY 1
