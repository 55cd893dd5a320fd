"""Compaction on request, and the segments that there are: what upkeep programs and benchmarks ask of a server."""

import pytest
from harness import eventually
from pymilvus import DataType, MilvusException

FORCE_MB = ((1 << 63) - 1) // (1024**2)


@pytest.fixture
def table(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_name="vec", index_type="HNSW", metric_type="L2")
    indexes.add_index("id", index_name="sorted", index_type="STL_SORT")
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Session")
    return name


def fill(client, name, first):
    client.insert(name, [{"id": i, "v": [i, 1, 2, 3]} for i in range(first, first + 50)])
    client.flush(name)


def merged(client, name, **given):
    """Runs a compaction to its end and returns its plans."""
    number = client.compact(name, **given)
    assert number > 0
    eventually(lambda: client.get_compaction_state(number) == "Completed", "the compaction ends")
    return client.get_compaction_plans(number)


def test_segments_are_merged_and_the_plans_name_them(client, table):
    for first in (0, 50, 100):
        fill(client, table, first)
    client.delete(table, filter="id < 25")
    client.flush(table)
    before = client.list_persistent_segments(table)
    # A merge that came by itself in between has left the deleted rows out.
    assert before and 125 <= sum(segment.num_rows for segment in before) <= 150
    assert all(segment.is_sorted and segment.state_name == "Flushed" for segment in before)

    def force():
        """Segments are merged by themselves too: as upkeep programs do, until the plan is about those that were listed."""
        listed = {segment.segment_id for segment in client.list_persistent_segments(table)}
        plans = merged(client, table, target_size=FORCE_MB)
        assert plans.state.name == "Completed" and [plan.state.name for plan in plans.plans] == ["Completed"]
        return {source for plan in plans.plans for source in plan.sources} == listed and plans

    plans = eventually(force, "the plan names the segments that were listed")
    after = client.list_persistent_segments(table)
    assert [segment.num_rows for segment in after] == [125]
    assert plans.plans[0].targets == [segment.segment_id for segment in after]
    assert client.query(table, "", output_fields=["count(*)"])[0]["count(*)"] == 125
    # Once more: nothing is left to do, and the plan still says which segment it was asked about.
    again = merged(client, table)
    assert {source for plan in again.plans for source in plan.sources} == {after[0].segment_id}
    loaded = client.list_loaded_segments(table)
    assert [(segment.segment_id, segment.num_rows) for segment in loaded] == [(after[0].segment_id, 125)]
    eventually(lambda: client.describe_index(table, "vec")["pending_index_rows"] == 0, "the index is built")
    client.refresh_load(table)


def test_what_a_compaction_cannot_do_is_named(client, table):
    fill(client, table, 0)
    for given, what in [({"is_clustering": True}, "not supported: compaction: clustering")]:
        with pytest.raises(MilvusException, match=what):
            client.compact(table, **given)
    with pytest.raises(MilvusException, match="compaction 7 not found"):
        client.get_compaction_state(7)
    with pytest.raises(MilvusException, match="collection not found"):
        client.compact("nothing_of_this_name")
    client.release_collection(table)
    with pytest.raises(MilvusException, match="not loaded"):
        client.list_loaded_segments(table)
