-- Hours of whole groups of datastreams: the sums of their hours added up. `numbers` says which group a datastream is of,
-- by its id, -1 for none: looked up there instead of joined, several workers can share one pass over the hours. Few
-- datastreams are found by their key instead (`by_key`): a row found so costs several times one that is passed by.
-- Where `most` are asked for, the few others are added up as well, and left out of the answer: the planner, who takes a
-- look-up for one that leaves a third, would think so little remained that one worker is enough.
-- An hour of which a datastream waits to be recomputed is added up apart.
SELECT (%(numbers)s::int[])[datastream_id] AS number, bucket, count(*) AS datastreams, sum(n)::bigint AS n,
       sum(sum) AS sum, sum(sum2) AS sum2, min(min) AS min, max(max) AS max
  FROM rollup_1h
 WHERE (%(by_key)s AND datastream_id = ANY (%(ids)s::int[])
        OR NOT %(by_key)s AND (%(most)s OR (%(numbers)s::int[])[datastream_id] >= 0))
   AND bucket >= %(start)s
   AND bucket < %(end)s
   AND bucket <> ALL (%(pending)s::timestamptz[])
 GROUP BY 1, bucket
 UNION ALL
SELECT (%(numbers)s::int[])[datastream_id], bucket, count(*), sum(n)::bigint, sum(sum), sum(sum2), min(min), max(max)
  FROM ({touched}) AS touched
 GROUP BY 1, bucket
 ORDER BY number, bucket
