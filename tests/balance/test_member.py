from bascule.balance.member import Load, Member


def test_a_load_alone_counts_its_own_process() -> None:
    load = Load()
    assert (load.active, load.all_active, load.table) == (0, 0, None)
    member = Member(3, 2, "a:1", load)
    assert (member.index, member.weight, member.name, member.load) == (3, 2.0, "a:1", load)
    assert repr(member) == "Member(3, 2, a:1)"
    assert repr(load) == "Load(0 of 0 active)"
