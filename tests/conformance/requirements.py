"""Which tests hold which requirement of OGC 18-088.

A requirement is named by what follows `http://www.opengis.net/spec/iot_sensing/1.1/req/`. Whoever
claims another one adds it to `CLASSES` and names its tests in `TESTS`: file::function, below
tests/. The landing page can claim nothing that is missing here (`test_requirements.py`).
"""

from collections.abc import Mapping
from typing import Final

ROOT: Final = "http://www.opengis.net/spec/iot_sensing/1.1/req/"

_ENTITIES: Final = (
    *("thing", "location", "historical-location", "datastream", "sensor"),
    *("observed-property", "observation", "feature-of-interest"),
)

CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    "datamodel": (
        "datamodel/entity-control-information/common-control-information",
        *(
            f"datamodel/{entity}/{what}"
            for entity in _ENTITIES
            for what in ("properties", "relations")
        ),
    ),
    "resource-path": ("resource-path/resource-path-to-entities",),
    "request-data": (
        "request-data/order",
        "request-data/expand",
        "request-data/select",
        "request-data/status-code",
        "request-data/query-status-code",
        "request-data/orderby",
        "request-data/top",
        "request-data/skip",
        "request-data/count",
        "request-data/filter",
        "request-data/built-in-filter-operations",
        "request-data/built-in-query-functions",
        "request-data/pagination",
    ),
    "create-update-delete": (
        "create-update-delete/create-entity",
        "create-update-delete/link-to-existing-entities",
        "create-update-delete/deep-insert",
        "create-update-delete/deep-insert-status-code",
        "create-update-delete/update-entity",
        "create-update-delete/update-entity-put",
        "create-update-delete/update-entity-jsonpatch",
        "create-update-delete/delete-entity",
        "create-update-delete/historical-location-auto-creation",
        "create-update-delete/historical-location-manual-creation",
    ),
    "batch-request": ("batch-request/batch-request",),
    "data-array": ("data-array/data-array",),
}
"""The requirements of each class. Claiming a class claims them all."""

_HERE: Final = "conformance/"
_ENTITY: Final = f"{_HERE}test_entities.py::"
_OPTION: Final = f"{_HERE}test_options.py::"
_FUNCTION: Final = f"{_HERE}test_functions.py::"
_FORM: Final = f"{_HERE}test_formats.py::"
_WRITING: Final = "integration/sensorthings/test_writing.py::"
_WRITTEN: Final = "integration/sensorthings/test_writing_observations.py::"
_BATCH: Final = "integration/sensorthings/test_batch.py::"

_SENSING: Final = {
    f"datamodel/{entity}/{what}": (f"{_ENTITY}{test}", f"{_ENTITY}test_everything_stored_is_told")
    for entity in _ENTITIES
    for what, test in (
        ("properties", "test_entities_have_their_mandatory_properties"),
        ("relations", "test_entities_have_their_relations"),
    )
}

TESTS: Final[Mapping[str, tuple[str, ...]]] = _SENSING | {
    "datamodel/entity-control-information/common-control-information": (
        f"{_ENTITY}test_entities_have_their_control_information",
    ),
    "resource-path/resource-path-to-entities": (
        f"{_ENTITY}test_the_root_lists_every_entity_set",
        f"{_ENTITY}test_addresses_lead_through_links_to_properties",
        f"{_ENTITY}test_every_collection_can_be_asked_for_its_links_alone",
    ),
    "request-data/order": (f"{_OPTION}test_options_are_evaluated_in_the_order_of_the_standard",),
    "request-data/expand": (
        f"{_OPTION}test_every_link_is_expanded",
        f"{_OPTION}test_expansions_take_options_and_nest",
    ),
    "request-data/select": (f"{_OPTION}test_only_what_is_selected_is_told",),
    "request-data/status-code": (f"{_ENTITY}test_what_is_not_there_is_404_and_null_is_204",),
    "request-data/query-status-code": (
        f"{_OPTION}test_a_malformed_option_is_400",
        f"{_OPTION}test_an_option_of_odata_alone_is_501",
    ),
    "request-data/orderby": (
        f"{_OPTION}test_orders_may_have_several_keys_and_lead_through_links",
        f"{_OPTION}test_nulls_are_first_ascending_and_last_descending",
        f"{_FUNCTION}test_orders_are_those_of_python",
    ),
    "request-data/top": (f"{_OPTION}test_top_skip_and_count_are_as_of_the_whole",),
    "request-data/skip": (f"{_OPTION}test_top_skip_and_count_are_as_of_the_whole",),
    "request-data/count": (f"{_OPTION}test_top_skip_and_count_are_as_of_the_whole",),
    "request-data/filter": (
        f"{_FUNCTION}test_filters_hold_where_they_hold_in_python",
        f"{_FUNCTION}test_functions_hold_on_paths_from_every_set",
    ),
    "request-data/built-in-filter-operations": (
        f"{_FUNCTION}test_filters_hold_where_they_hold_in_python",
        f"{_FUNCTION}test_every_function_is_tried_in_a_filter_and_in_an_order",
    ),
    "request-data/built-in-query-functions": (
        f"{_FUNCTION}test_filters_hold_where_they_hold_in_python",
        f"{_FUNCTION}test_orders_are_those_of_python",
        f"{_FUNCTION}test_every_function_is_tried_in_a_filter_and_in_an_order",
        f"{_FUNCTION}test_linked_entities_are_ordered_by_distance",
    ),
    "request-data/pagination": (
        f"{_OPTION}test_next_links_lead_to_everything_once",
        f"{_OPTION}test_a_page_is_cut_by_the_server_and_says_so",
    ),
    "create-update-delete/create-entity": (
        f"{_WRITING}test_every_entity_type_is_created_and_read_back",
        f"{_WRITTEN}test_an_observation_reaches_latest_and_rollups_like_any_other",
    ),
    "create-update-delete/link-to-existing-entities": (
        f"{_WRITING}test_every_entity_type_is_created_and_read_back",
    ),
    "create-update-delete/deep-insert": (
        f"{_WRITING}test_a_deep_insert_makes_all_of_it_or_nothing",
    ),
    "create-update-delete/deep-insert-status-code": (
        f"{_WRITING}test_a_deep_insert_makes_all_of_it_or_nothing",
    ),
    "create-update-delete/update-entity": (
        f"{_WRITING}test_patch_put_and_json_patch_change_an_entity",
    ),
    "create-update-delete/update-entity-put": (
        f"{_WRITING}test_patch_put_and_json_patch_change_an_entity",
    ),
    "create-update-delete/update-entity-jsonpatch": (
        f"{_WRITING}test_patch_put_and_json_patch_change_an_entity",
    ),
    "create-update-delete/delete-entity": (
        f"{_WRITING}test_deleting_takes_along_what_the_standard_says",
    ),
    "create-update-delete/historical-location-auto-creation": (
        f"{_WRITING}test_a_thing_that_moves_keeps_where_it_was",
    ),
    "create-update-delete/historical-location-manual-creation": (
        f"{_WRITING}test_history_is_told_by_hand_and_its_newest_says_where_a_thing_is",
    ),
    "batch-request/batch-request": (
        f"{_BATCH}test_requests_of_a_batch_stand_for_themselves",
        f"{_BATCH}test_a_get_answers_in_a_batch_what_it_answers_alone",
        f"{_BATCH}test_a_change_set_is_done_whole_with_references_to_what_it_made",
        f"{_BATCH}test_a_change_set_that_fails_changes_nothing",
    ),
    "data-array/data-array": (
        f"{_FORM}test_a_data_array_has_a_group_for_each_datastream",
        f"{_FORM}test_data_arrays_are_paged_without_loss",
        f"{_WRITTEN}test_a_data_array_answers_for_each_row_in_order",
    ),
}
"""Beside the table above: what of it is held, and by what."""
