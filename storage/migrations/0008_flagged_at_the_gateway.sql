-- Gateways flag readings themselves. A reading that waits in quarantine keeps its flags; and what lies outside its
-- sensor's range is left out of the rollups, which ask for each observation whether it is one of those few.

ALTER TABLE quarantine ADD COLUMN quality smallint NOT NULL DEFAULT 0;

CREATE INDEX observation_extra_out_of_range ON observation_extra (datastream_id, time) WHERE quality & 1 <> 0;
