-- Which of these datastreams have an observation in a time; {window} is a condition on o.time.
SELECT stream.id
FROM unnest(%(ids)s::int[]) AS stream (id)
WHERE EXISTS (SELECT FROM observation AS o WHERE o.datastream_id = stream.id AND {window})
