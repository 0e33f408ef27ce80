-- Which datastreams everybody may read. Whoever reads more says so within their transaction, as a list of councils
-- (storage/access.py); what asks through these views sees no more than that.

ALTER TABLE datastream
    ADD COLUMN access text NOT NULL DEFAULT 'open' CHECK (access IN ('open', 'restricted'));
ALTER TABLE council
    ADD COLUMN restricts_new_datastreams boolean NOT NULL DEFAULT false;

-- The councils whose restricted datastreams may be read; none where nothing was said.
CREATE FUNCTION readable_councils() RETURNS int[] LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(nullif(current_setting('kerbstone.councils', true), ''), '{}')::int[];

CREATE VIEW readable_datastream AS
SELECT datastream.*
  FROM datastream
  JOIN thing ON thing.id = datastream.thing_id
 WHERE thing.approved
   AND (datastream.access = 'open' OR datastream.council_id = ANY (readable_councils()));

-- Things are seen with what is to be read of them; one whose every datastream is restricted is not.
CREATE VIEW readable_thing AS
SELECT thing.*
  FROM thing
 WHERE thing.approved
   AND (thing.council_id = ANY (readable_councils())
        OR EXISTS (SELECT FROM datastream WHERE thing_id = thing.id AND access = 'open')
        OR NOT EXISTS (SELECT FROM datastream WHERE thing_id = thing.id));
