-- Gateways flag readings themselves. A reading that waits in quarantine keeps its flags; and what lies outside its
-- sensor's range is left out of the rollups, which must find those few quickly. The statistics tell the planner that
-- they are few, also where every observation is flagged as a replay.

ALTER TABLE quarantine ADD COLUMN quality smallint NOT NULL DEFAULT 0;

CREATE INDEX observation_extra_out_of_range ON observation_extra (time, datastream_id) WHERE quality & 1 <> 0;
CREATE STATISTICS observation_extra_out_of_range_share ON (quality & 1) FROM observation_extra;
