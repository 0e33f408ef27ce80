-- What a council keeps by hand, e.g. a survey with diffusion tubes: Things and Sensors without a gateway, whose
-- datastreams take observations through the SensorThings API. A datastream is its sensor's: signed where that has a
-- gateway, kept by hand where it has none.

ALTER TABLE thing ALTER COLUMN gateway_id DROP NOT NULL;
ALTER TABLE sensor ALTER COLUMN gateway_id DROP NOT NULL;

ALTER TABLE observation_extra
    ADD COLUMN started timestamptz,                 -- of an interval of its own; null: as its datastream's averages
    ADD COLUMN parameters jsonb;                    -- what was said beside the result, and how it was corrected

-- Every version of an observation that was ever changed, the first one included. Of a signed observation the row in
-- observation stays what was signed; of one kept by hand it is the newest version. Rows are only ever added.
CREATE TABLE observation_version (
    datastream_id int NOT NULL,
    time        timestamptz NOT NULL,
    version     int NOT NULL,                       -- 1: as it first came
    value       float8,
    result      jsonb,                              -- non-numeric results
    quality     smallint NOT NULL DEFAULT 0,
    started     timestamptz,
    parameters  jsonb,
    deleted     boolean NOT NULL DEFAULT false,
    at          timestamptz NOT NULL DEFAULT now(), -- when this became the version
    actor       text NOT NULL,                      -- as in audit_entry; '' of the first version
    reason      text NOT NULL DEFAULT '',
    PRIMARY KEY (datastream_id, time, version)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON observation_version
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
