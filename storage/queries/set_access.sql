-- Open or restrict datastreams of a council; those that are so already are not told.
UPDATE datastream
   SET access = %(access)s
 WHERE council_id = %(council_id)s
   AND id = ANY (%(ids)s)
   AND access <> %(access)s
RETURNING id
