from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_protocol import topics
from device_protocol.errors import TopicError, VersionError
from device_protocol.topics import Kind, Topic


def _names(length: int) -> st.SearchStrategy[str]:
    return st.from_regex(rf"[a-z0-9][a-z0-9-]{{0,{length - 1}}}", fullmatch=True)


TENANTS, DEVICES, GROUPS = _names(32), _names(48), _names(16)


@given(TENANTS, DEVICES, GROUPS)
def test_topic_built_is_the_topic_parsed(tenant: str, device: str, group: str) -> None:
    for kind, build in (
        (Kind.ANNOUNCEMENT, topics.announcement),
        (Kind.DATA, topics.data),
        (Kind.ACKNOWLEDGEMENT, topics.acknowledgement),
    ):
        assert topics.parse(build(tenant, device, group)) == Topic(kind, tenant, device, group)
    settings = topics.parse(topics.configuration(tenant, device))
    assert settings == Topic(Kind.CONFIGURATION, tenant, device, "")
    assert topics.parse(topics.key_set(tenant)) == Topic(Kind.KEY_SET, tenant, "", "")


def test_prefix_of_a_bridge_is_stripped_first() -> None:
    topic = "region/x/snaas/1/bath/gw1/d/main"
    assert topics.parse(topic, prefix="region/x/") == Topic(Kind.DATA, "bath", "gw1", "main")
    with pytest.raises(TopicError):
        topics.parse("snaas/1/bath/gw1/d/main", prefix="region/x/")
    with pytest.raises(TopicError):
        topics.parse(topic)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "snaas",
        "snaas/1",
        "snaas/1/bath",
        "snaas/1/bath/gw1/d",
        "snaas/1/bath/gw1/d/",
        "snaas/1/bath/gw1/d/main/",
        "snaas/1/bath/gw1/d/main\n",
        "/snaas/1/bath/gw1/d/main",
        "snaas/1/bath/gw1/x/main",
        "snaas/1/bath/gw1/c/main",
        "snaas/1/bath/gw1/r",
        "snaas/1/BATH/gw1/d/main",
        "snaas/1/-bath/gw1/d/main",
        "snaas/1/bath/gw_1/d/main",
        "snaas/1/bath/gw1/d/ma.in",
        "snaas/1/bath//d/main",
        "snaas/one/bath/gw1/d/main",
        "snaas/1/båth/gw1/d/main",
        "snaas/1/" + 33 * "a" + "/gw1/d/main",
        "snaas/1/bath/" + 49 * "a" + "/d/main",
        "snaas/1/bath/gw1/d/" + 17 * "a",
    ],
)
def test_topic_of_another_form_is_refused(topic: str) -> None:
    with pytest.raises(TopicError):
        topics.parse(topic)


@pytest.mark.parametrize("version", ["0", "2", "10", "01"])
def test_other_version_is_told_apart_from_a_wrong_form(version: str) -> None:
    with pytest.raises(VersionError):
        topics.parse(f"snaas/{version}/bath/gw1/d/main")


@pytest.mark.parametrize(
    ("tenant", "device", "group"),
    [("Bath", "gw1", "main"), ("bath", "gw+", "main"), ("bath", "gw1", "#"), ("", "gw1", "main")],
)
def test_no_topic_is_built_from_names_that_fit_none(tenant: str, device: str, group: str) -> None:
    with pytest.raises(TopicError):
        topics.data(tenant, device, group)


@given(st.text(max_size=40))
def test_any_text_is_a_topic_or_refused(text: str) -> None:
    with suppress(TopicError, VersionError):
        topics.parse(text)
