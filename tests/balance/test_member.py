from bascule.balance.member import Load, Member, members_of


def test_groups_by_priority_highest_first_without_weightless_nodes() -> None:
    loads = {"a:1": Load(active=3)}
    groups = members_of([(1, 0), (2, 5), (0, 5), (3, 0), (0, -1)], ["a:1", "b:1", "c:1", "d:1", "e:1"], loads)
    assert groups == [
        [Member(1, 2, "b:1", Load())],
        [Member(0, 1, "a:1", Load(active=3)), Member(3, 3, "d:1", Load())],
    ]
    assert groups[1][0].load is loads["a:1"]
    assert sorted(loads) == ["a:1", "b:1", "d:1"]
