SELECT date_bin(%(width)s, time - %(shift)s, %(origin)s) AS bin, bit_or(quality)
FROM observation_extra
WHERE datastream_id = %(datastream_id)s
  AND time >= %(start)s::timestamptz + %(shift)s
  AND time < %(end)s::timestamptz + %(shift)s
  AND quality <> 0
GROUP BY bin
