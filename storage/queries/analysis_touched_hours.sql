-- Part of other statements: hours of the datastreams `ids` of which one waits to be recomputed (`pending`): what is kept,
-- but for those that wait, and the `fresh_` sums of those.
SELECT kept.datastream_id, kept.bucket, kept.n, kept.sum, kept.sum2, kept.min, kept.max
  FROM unnest(%(ids)s::int[]) AS stream (id)
  JOIN rollup_1h AS kept ON kept.datastream_id = stream.id
  LEFT JOIN unnest(%(fresh_ids)s::int[], %(fresh_buckets)s::timestamptz[]) AS fresh (datastream_id, bucket)
         ON fresh.datastream_id = kept.datastream_id AND fresh.bucket = kept.bucket
 WHERE kept.bucket = ANY (%(pending)s::timestamptz[])
   AND fresh.bucket IS NULL
 UNION ALL
SELECT datastream_id, bucket, n, sum, sum2, min, max
  FROM unnest(%(fresh_ids)s::int[], %(fresh_buckets)s::timestamptz[], %(fresh_n)s::int[], %(fresh_sum)s::float8[],
              %(fresh_sum2)s::float8[], %(fresh_min)s::float8[], %(fresh_max)s::float8[])
       AS fresh (datastream_id, bucket, n, sum, sum2, min, max)
 WHERE n > 0
