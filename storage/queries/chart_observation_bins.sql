-- One datastream's observations summed up by bins, with the sums that refresh_rollups.sql keeps. The time of a mean
-- is the end of its interval, so it belongs to the bin that ends with it; `shift` is a microsecond for a mean, else 0.
SELECT
    date_bin(%(width)s, time - %(shift)s, %(origin)s) AS bin,
    count(*) AS n,
    sum(CASE %(aggregation)s
            WHEN 'bearing' THEN sind(value * 360 / %(full_turn)s)
            WHEN 'level' THEN power(10, least(greatest(value, -2000), 2000) / 10)
            ELSE value
        END) AS sum,
    CASE %(aggregation)s WHEN 'bearing' THEN sum(cosd(value * 360 / %(full_turn)s)) END AS sum2,
    CASE %(aggregation)s WHEN 'bearing' THEN NULL ELSE min(value) END AS min,
    CASE %(aggregation)s WHEN 'bearing' THEN NULL ELSE max(value) END AS max
FROM observation
WHERE datastream_id = %(datastream_id)s
  AND time >= %(start)s::timestamptz + %(shift)s
  AND time < %(end)s::timestamptz + %(shift)s
  AND value BETWEEN -1e290 AND 1e290
  AND NOT EXISTS (SELECT FROM observation_extra AS extra
                   WHERE extra.datastream_id = %(datastream_id)s
                     AND extra.time = observation.time
                     AND extra.quality & 1 <> 0)
GROUP BY bin
ORDER BY bin
