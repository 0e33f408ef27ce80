-- What became of rows that were tried again. An empty reason: stored. A duplicate is stored already, unless the
-- message had come past the check for repetitions before it was refused: then only its evidence is.
UPDATE quarantine AS held
   SET state = CASE WHEN stored THEN 'retried' WHEN verdict.reason = ANY (%(kept)s) THEN 'held' ELSE 'refused' END,
       first_reason = CASE WHEN stored OR held.reason = verdict.reason THEN held.first_reason
                           ELSE coalesce(held.first_reason, held.reason) END,
       reason = CASE WHEN stored THEN held.reason ELSE verdict.reason END,
       detail = CASE WHEN verdict.reason = '' THEN held.detail ELSE verdict.detail END,
       tries = held.tries + 1,
       tried_at = now()
  FROM (
      SELECT verdict.id, verdict.reason, verdict.detail,
             verdict.reason = ''
             OR verdict.reason = %(duplicate)s AND before.reason = ANY (%(before_repetition)s) AS stored
        FROM unnest(%(ids)s::bigint[], %(reasons)s::text[], %(details)s::text[])
             AS verdict (id, reason, detail)
        JOIN quarantine AS before ON before.id = verdict.id
  ) AS verdict
 WHERE held.id = verdict.id AND held.state = 'asked'
