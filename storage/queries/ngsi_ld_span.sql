-- When the first and the last observation of a datastream in a time was; null where there is none.
SELECT
    (SELECT o.time FROM observation AS o WHERE o.datastream_id = %(id)s AND {window} ORDER BY o.time LIMIT 1),
    (SELECT o.time FROM observation AS o WHERE o.datastream_id = %(id)s AND {window} ORDER BY o.time DESC LIMIT 1)
