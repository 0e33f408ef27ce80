-- Part of other statements: the hours of the datastreams `ids` that begin from `start` to before `end`. Those of which
-- one waits to be recomputed are set apart, so that all others are read without a second join.
SELECT kept.datastream_id, kept.bucket, kept.n, kept.sum, kept.sum2, kept.min, kept.max
  FROM unnest(%(ids)s::int[]) AS stream (id)
  JOIN rollup_1h AS kept ON kept.datastream_id = stream.id
 WHERE kept.bucket >= %(start)s
   AND kept.bucket < %(end)s
   AND kept.bucket <> ALL (%(pending)s::timestamptz[])
 UNION ALL
{touched}
