-- Open datastreams with something newer than was published, among those written since a moment.
SELECT latest.datastream_id, published.time AS published, latest.updated_at
  FROM latest
  JOIN readable_datastream ON readable_datastream.id = latest.datastream_id
  LEFT JOIN published_observation AS published ON published.datastream_id = latest.datastream_id
 WHERE latest.updated_at > %(since)s
   AND (published.time IS NULL OR published.time < latest.time)
 ORDER BY latest.updated_at, latest.datastream_id
