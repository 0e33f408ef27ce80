-- The first time nothing is old news: publication begins with what comes after the newest there is.
INSERT INTO published_observation (datastream_id, time)
SELECT datastream_id, time
  FROM latest
 WHERE NOT EXISTS (SELECT FROM published_observation)
