-- What lies in a rectangle of a map, and whether a described place is known already, without reading every place.

CREATE INDEX location_place ON location (longitude, latitude);
