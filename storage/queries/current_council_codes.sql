-- The codes now of the councils that had these codes before.
SELECT former.gss, council.gss
  FROM former_council_code AS former
  JOIN council ON council.id = former.council_id
 WHERE former.gss = ANY (%(codes)s)
