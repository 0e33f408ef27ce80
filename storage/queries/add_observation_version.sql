INSERT INTO observation_version (
    datastream_id, time, version, value, result, quality, started, parameters, deleted, actor, reason
)
VALUES (
    %(datastream_id)s, %(time)s, %(version)s, %(value)s, %(result)s, %(quality)s, %(started)s, %(parameters)s,
    %(deleted)s, %(actor)s, %(reason)s
)
