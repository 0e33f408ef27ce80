-- A device id that is taken makes no row; the caller draws another. What the invitation leaves out is taken over from
-- the gateway that was revoked at this site last.
INSERT INTO gateway (council_id, device, status, site, label, place_name, longitude, latitude)
SELECT %(council_id)s,
       fresh.device,
       'invited',
       fresh.site,
       coalesce(nullif(fresh.label, ''), former.label, ''),
       coalesce(nullif(fresh.place_name, ''), former.place_name, ''),
       coalesce(fresh.longitude, former.longitude),
       coalesce(fresh.latitude, former.latitude)
  FROM unnest(%(devices)s::text[], %(sites)s::text[], %(labels)s::text[], %(place_names)s::text[],
              %(longitudes)s::float8[], %(latitudes)s::float8[])
       AS fresh (device, site, label, place_name, longitude, latitude)
  LEFT JOIN (
       SELECT DISTINCT ON (site) site, label, place_name, longitude, latitude
         FROM gateway
        WHERE council_id = %(council_id)s
          AND site = ANY(%(sites)s)
          AND status = 'revoked'
        ORDER BY site, status_at DESC, id DESC
       ) AS former ON former.site = fresh.site
    ON CONFLICT (device) DO NOTHING
RETURNING site, id, device
