-- Rows that say nothing new are left alone.
WITH said AS (
    SELECT gateway.id,
           coalesce(nullif(fresh.label, ''), gateway.label) AS label,
           coalesce(nullif(fresh.place_name, ''), gateway.place_name) AS place_name,
           coalesce(fresh.longitude, gateway.longitude) AS longitude,
           coalesce(fresh.latitude, gateway.latitude) AS latitude
      FROM unnest(%(gateway_ids)s::int[], %(labels)s::text[], %(place_names)s::text[],
                  %(longitudes)s::float8[], %(latitudes)s::float8[])
           AS fresh (id, label, place_name, longitude, latitude)
      JOIN gateway ON gateway.id = fresh.id
)
UPDATE gateway
   SET label = said.label,
       place_name = said.place_name,
       longitude = said.longitude,
       latitude = said.latitude
  FROM said
 WHERE said.id = gateway.id
   AND (said.label, said.place_name, said.longitude, said.latitude)
       IS DISTINCT FROM (gateway.label, gateway.place_name, gateway.longitude, gateway.latitude)
