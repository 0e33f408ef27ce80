-- Means over parts of an hour, each told by its end, of what lies within its sensor's range.
SELECT asked.id, part.ended, part.results, part.mean
  FROM unnest(%(ids)s::int[], %(seconds)s::int[], %(starts)s::timestamptz[])
       AS asked (id, seconds, start)
 CROSS JOIN LATERAL (
       SELECT to_timestamp(ceil(extract(epoch FROM o.time) / asked.seconds) * asked.seconds)
                  AS ended,
              count(*) AS results, avg(o.value) AS mean
         FROM observation o
         LEFT JOIN observation_extra x
                ON x.datastream_id = o.datastream_id AND x.time = o.time
        WHERE o.datastream_id = asked.id
          AND o.time > asked.start AND o.time <= %(end)s
          AND o.value BETWEEN '-1e300' AND '1e300'
          AND coalesce(x.quality & 1, 0) = 0
        GROUP BY ended) AS part
