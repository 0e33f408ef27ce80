-- Of when datastreams have observations, to the hour at the beginning, and when they last got one: by the first hour
-- that is summed up, or the first result that is none or no number, never by reading the observations.
SELECT chosen.id,
       least(
           (SELECT bucket FROM rollup_1h WHERE datastream_id = chosen.id ORDER BY bucket LIMIT 1),
           (SELECT time FROM observation_extra WHERE datastream_id = chosen.id ORDER BY time LIMIT 1),
           latest.time
       ),
       latest.time,
       latest.updated_at
  FROM unnest(%(ids)s::int[]) AS chosen (id)
  JOIN latest ON latest.datastream_id = chosen.id
