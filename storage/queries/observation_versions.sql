-- What an observation said, version by version; nothing where it was never changed. Who did it is the audit's.
SELECT version, value, result, quality, started, parameters, at, reason
  FROM observation_version
 WHERE datastream_id = %(datastream_id)s
   AND time = %(time)s
 ORDER BY version
 LIMIT %(most)s
