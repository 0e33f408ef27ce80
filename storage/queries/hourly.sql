SELECT rollup_1h.datastream_id, rollup_1h.bucket, datastream.unit, observed_property.key,
       rollup_1h.n, rollup_1h.sum, rollup_1h.sum2, rollup_1h.min, rollup_1h.max
  FROM rollup_1h
  JOIN datastream ON datastream.id = rollup_1h.datastream_id
  JOIN observed_property ON observed_property.id = datastream.observed_property_id
 WHERE rollup_1h.datastream_id = ANY (%(datastream_ids)s)
   AND rollup_1h.bucket >= %(start)s AND rollup_1h.bucket < %(end)s
 ORDER BY rollup_1h.datastream_id, rollup_1h.bucket
