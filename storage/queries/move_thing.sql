-- Where it is now, and the same as history: a HistoricalLocation says since when it was where.
WITH left_behind AS (
    DELETE FROM thing_location WHERE thing_id = %(thing_id)s AND location_id <> %(location_id)s
), placed AS (
    INSERT INTO thing_location (thing_id, location_id)
    VALUES (%(thing_id)s, %(location_id)s)
        ON CONFLICT DO NOTHING
), remembered AS (
    INSERT INTO historical_location (thing_id, time)
    VALUES (%(thing_id)s, to_timestamp(%(time)s))
    RETURNING id
)
INSERT INTO historical_location_location (historical_location_id, location_id)
SELECT id, %(location_id)s FROM remembered
