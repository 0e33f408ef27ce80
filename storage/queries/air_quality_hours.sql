-- The whole hours of each datastream as they are kept, from `start` to before `end`, and a fingerprint of them. The hours
-- themselves are told only where it is not the one that is `known`: nothing else may have changed.
--
-- An instant on the very end is of the last hour here, but kept in the one that follows: it is told apart, and it is in
-- the fingerprint. All earlier ones are in the hours that they begin.
WITH asked AS MATERIALIZED (
    SELECT *
      FROM unnest(%(ids)s::int[], %(starts)s::timestamptz[], %(instants)s::bool[], %(known)s::bigint[])
           AS asked (id, start, instant, known)
)
SELECT id, fingerprint, greatest, is_new,
       CASE WHEN is_new THEN buckets END, CASE WHEN is_new THEN results END, CASE WHEN is_new THEN sums END
  FROM asked
 CROSS JOIN LATERAL (
       SELECT array_agg(bucket) AS buckets, array_agg(n) AS results, array_agg(sum) AS sums,
              max(greatest(-min, max)) AS greatest,
              coalesce(bit_xor(hash_record_extended(ROW(bucket, n, sum, min, max), 0)), 0) AS hours
         FROM rollup_1h
        WHERE datastream_id = asked.id AND bucket >= asked.start AND bucket < %(end)s) AS kept
  LEFT JOIN LATERAL (
       SELECT hash_record_extended(ROW(o.value, x.quality & 1), 1) AS at_end
         FROM observation o
         LEFT JOIN observation_extra x ON x.datastream_id = o.datastream_id AND x.time = o.time
        WHERE o.datastream_id = asked.id AND o.time = %(end)s
       OFFSET 0) AS edge ON asked.instant
 CROSS JOIN LATERAL (SELECT hours # coalesce(at_end, 0) AS fingerprint) AS both_of
 CROSS JOIN LATERAL (SELECT fingerprint IS DISTINCT FROM known AS is_new) AS compared
