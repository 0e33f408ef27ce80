"""Answers in another form than the JSON of entities: $resultFormat=dataArray, CSV and GeoJSON.

What these forms look like is told in `standards_mapping`; what is read for them is `answer`.
"""

from typing import Final

import orjson
from fastapi import Response

from api.sensorthings.answer import Answers
from standards_mapping.sensorthings import data_array_page, features, table
from standards_mapping.sensorthings.errors import QueryError
from standards_mapping.sensorthings.options import Options, ResultFormat
from standards_mapping.sensorthings.path import ResourcePath

_JSON: Final = "application/json"


async def formatted(answers: Answers, path: ResourcePath, options: Options, root: str) -> Response:
    """Return a page of a collection in the form that the options name.

    root: URL of the service, without a slash at its end. The address of the next page is in the
    header Link, too, and a count in X-Total-Count: CSV has no other place for them.

    Raises:
        QueryError: the form has no room for what is asked.
        UnknownTargetError: what the path leads through does not exist.
    """
    entity_type = path.target.entity_type
    if path.references:
        raise QueryError("$resultFormat needs entities; here are only links")
    match options.result_format:
        case ResultFormat.CSV:
            answer = await answers.collection(path, table.readable(options, entity_type))
            text = table.csv_text(answer["value"], entity_type, options)
            response = Response(text, headers={"Content-Type": table.MEDIA_TYPE})
        case ResultFormat.GEOJSON:
            answer = await answers.collection(path, features.readable(options, entity_type))
            found = features.feature_collection(answer, entity_type, options)
            response = Response(orjson.dumps(found), media_type=features.MEDIA_TYPE)
        case _:
            answer = await answers.collection(path, data_array_page.readable(options))
            found = data_array_page.data_array(answer, options, root)
            response = Response(orjson.dumps(found), media_type=_JSON)
    if "@iot.nextLink" in answer:
        response.headers["Link"] = f'<{answer["@iot.nextLink"]}>; rel="next"'
    if "@iot.count" in answer:
        response.headers["X-Total-Count"] = str(answer["@iot.count"])
    return response
