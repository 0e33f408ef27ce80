-- A percentile of each group, interpolated between the two values beside it: exact, though few values are read.
--
-- Counted from the nearer end, the inner of the two is the k-th value. Hours are taken in the order of their nearer extreme until they
-- hold k results: all of those lie beyond the last hour's extreme, so the k-th does (`bar`). Hours that do not reach so
-- far hold none of the first k; only the others are read from `observation`, each a range of its key. From the lower end
-- everything is negated. `low` and `high` bound all times, so that other partitions or chunks are left out at once.
WITH hour AS MATERIALIZED (
    SELECT member.number, member.averaged, kept.datastream_id, kept.bucket, kept.n,
           CASE WHEN %(from_above)s THEN kept.min ELSE -kept.max END AS nearest,
           CASE WHEN %(from_above)s THEN kept.max ELSE -kept.min END AS furthest
      FROM ({hours}) AS kept
      JOIN unnest(%(ids)s::int[], %(groups)s::int[], %(averaged)s::bool[]) AS member (id, number, averaged)
        ON member.id = kept.datastream_id
), ranked AS (
    SELECT number, n, rank, CASE WHEN %(from_above)s THEN n - floor(rank) ELSE ceil(rank) + 1 END AS k
      FROM (SELECT number, sum(n) AS n, (sum(n) - 1) * %(fraction)s::numeric AS rank
              FROM hour
             GROUP BY number) AS counted
), bar AS MATERIALIZED (
    SELECT ranked.number, max(cumulated.nearest) AS value
      FROM (SELECT number, nearest,
                   sum(n) OVER (PARTITION BY number ORDER BY nearest DESC ROWS UNBOUNDED PRECEDING) AS reached
              FROM hour) AS cumulated
      JOIN ranked ON ranked.number = cumulated.number AND cumulated.reached >= ranked.k
     GROUP BY ranked.number
), found AS (
    SELECT hour.number,
           row_number() OVER (
               PARTITION BY hour.number
               ORDER BY CASE WHEN %(from_above)s THEN observation.value ELSE -observation.value END DESC) AS place,
           observation.value
      FROM hour
      JOIN bar ON bar.number = hour.number AND hour.furthest >= bar.value
      JOIN observation
        ON observation.datastream_id = hour.datastream_id
       AND observation.time BETWEEN hour.bucket AND hour.bucket + INTERVAL '1 hour'
       AND observation.time BETWEEN %(low)s AND %(high)s
       AND CASE WHEN hour.averaged THEN observation.time > hour.bucket
                ELSE observation.time < hour.bucket + INTERVAL '1 hour' END
       AND observation.value BETWEEN -1e290 AND 1e290
       AND CASE WHEN %(from_above)s THEN observation.value ELSE -observation.value END >= bar.value
     WHERE NOT EXISTS (SELECT FROM observation_extra AS extra
                        WHERE extra.datastream_id = observation.datastream_id
                          AND extra.time = observation.time
                          AND extra.quality & 1 <> 0)
)
SELECT number, ranked.n::bigint AS n, min(value) + (rank - floor(rank))::float8 * (max(value) - min(value)) AS value
  FROM ranked
  JOIN found USING (number)
 WHERE place = k
    OR place = k - 1 AND rank <> floor(rank)
 GROUP BY number, ranked.n, rank
 ORDER BY number
