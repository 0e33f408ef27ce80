DELETE FROM rollup_log
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM rollup_log LIMIT %(entries)s))
RETURNING bucket, datastream_id
