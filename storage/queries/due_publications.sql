-- What is to be published next, in the order of writing; of the batch that is partly published what is left, and that
-- one first, or how much of it is done would be forgotten. A batch goes only once it is published, so that one whose
-- transaction ends later than others' is found all the same.
SELECT batch.id,
       coalesce(publication.done, 0),
       substring(batch.observations FROM 12 * coalesce(publication.done, 0) + 1)
  FROM (SELECT id, sum(octet_length(observations)) OVER (ORDER BY id) - octet_length(observations) AS before
          FROM (SELECT id, observations FROM unpublished_batch ORDER BY id LIMIT 1000) AS oldest) AS waiting
  JOIN unpublished_batch AS batch ON batch.id = waiting.id
  LEFT JOIN publication ON publication.batch = batch.id
 WHERE waiting.before < 12 * %(most)s
    OR publication.batch IS NOT NULL
 ORDER BY publication.batch IS NULL, batch.id
