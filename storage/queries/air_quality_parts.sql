-- Means over parts of an hour, each told by its end, of what lies within its sensor's range.
SELECT o.datastream_id,
       to_timestamp(ceil(extract(epoch FROM o.time) / %(seconds)s) * %(seconds)s) AS ended,
       count(*), avg(o.value)
  FROM observation o
  LEFT JOIN observation_extra x ON x.datastream_id = o.datastream_id AND x.time = o.time
 WHERE o.datastream_id = ANY (%(ids)s)
   AND o.time > %(start)s AND o.time <= %(end)s
   AND o.value BETWEEN '-1e300' AND '1e300'
   AND coalesce(x.quality & 1, 0) = 0
 GROUP BY o.datastream_id, ended
