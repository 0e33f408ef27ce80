-- A device id that is taken makes no row; the caller draws another.
INSERT INTO gateway (council_id, device, status, site, label, place_name, longitude, latitude)
SELECT %(council_id)s, device, 'invited', site, label, place_name, longitude, latitude
  FROM unnest(%(devices)s::text[], %(sites)s::text[], %(labels)s::text[], %(place_names)s::text[],
              %(longitudes)s::float8[], %(latitudes)s::float8[])
       AS fresh (device, site, label, place_name, longitude, latitude)
    ON CONFLICT (device) DO NOTHING
RETURNING site, id, device
