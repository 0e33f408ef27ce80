from standards_mapping.open_licence import OPEN_GOVERNMENT_LICENCE, licence_from, licence_name


def test_a_licence_that_is_named_is_told_by_its_address() -> None:
    assert licence_from("Open Government Licence v3.0") == OPEN_GOVERNMENT_LICENCE
    assert licence_from("open government licence V3.0") == OPEN_GOVERNMENT_LICENCE
    assert licence_name(OPEN_GOVERNMENT_LICENCE) == "Open Government Licence v3.0"


def test_where_nothing_is_stated_the_open_government_licence_holds() -> None:
    assert licence_from("") == OPEN_GOVERNMENT_LICENCE


def test_another_licence_is_told_as_it_is_stated() -> None:
    assert licence_from("Ask us first") == "Ask us first"
    assert licence_name("Ask us first") == "Ask us first"
