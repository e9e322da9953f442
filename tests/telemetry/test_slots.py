import pytest

from llm_edge_agent.telemetry.slots import WIDTH_BITS, SlotBlock


def key(number: int, width: int) -> int:
    return number << WIDTH_BITS | width


def test_rows_keep_their_place_and_start_at_zero() -> None:
    slot = SlotBlock(1, 64, 7).slot(0)
    first, second = slot.add(key(1, 1)), slot.add(key(2, 3))
    assert first is not None
    assert second is not None
    slot.cells[first] += 5
    slot.cells[second + 2] += 9
    assert [slot.cells[first], *slot.cells[second : second + 3]] == [5, 0, 0, 9]
    assert list(slot.rows()) == [(key(1, 1), first), (key(2, 3), second)]
    assert slot.find(key(2, 3)) == second
    assert slot.find(key(3, 1)) is None


def test_sums_add_up_slots_whatever_the_order_of_their_rows() -> None:
    block = SlotBlock(3, 64, 7)
    for number, order in ((0, (1, 2)), (2, (2, 1, 3))):
        slot = block.slot(number)
        for row in order:
            cell = slot.add(key(row, 2))
            assert cell is not None
            slot.cells[cell] = row
            slot.cells[cell + 1] = 100 + number
    assert block.sums() == {key(1, 2): [2, 202], key(2, 2): [4, 202], key(3, 2): [3, 102]}


def test_a_replacement_goes_on_where_the_dead_worker_stopped() -> None:
    block = SlotBlock(1, 64, 7)
    cell = block.slot(0).add(key(4, 1))
    assert cell is not None
    block.slot(0).cells[cell] += 2
    replacement = block.slot(0)
    assert replacement.find(key(4, 1)) == cell
    replacement.cells[cell] += 3
    assert block.sums() == {key(4, 1): [5]}


def test_a_row_that_a_crash_left_half_made_is_overwritten_and_zeroed() -> None:
    block = SlotBlock(1, 64, 7)
    slot = block.slot(0)
    end = slot.cells[1]
    slot.cells[end] = key(9, 2)  # the key was written, the row never announced
    slot.cells[end + 1] = 77
    cell = block.slot(0).add(key(5, 2))
    assert cell == end + 1
    assert block.sums() == {key(5, 2): [0, 0]}


def test_a_full_slot_says_so_and_stays_intact() -> None:
    slot = SlotBlock(1, 8, 7).slot(0)
    assert slot.add(key(1, 3)) is not None
    assert slot.add(key(2, 2)) is None
    assert slot.add(key(2, 1)) is not None
    assert [row for row, _ in slot.rows()] == [key(1, 3), key(2, 1)]


def test_a_slot_of_another_configuration_is_refused() -> None:
    block = SlotBlock(1, 64, 7)
    block.slot(0)
    block._fingerprint = 8
    with pytest.raises(ValueError, match="another configuration"):
        block.slot(0)
    assert block.sums() == {}
