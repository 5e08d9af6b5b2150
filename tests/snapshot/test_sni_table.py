from bascule.snapshot.compiled_ssl import CompiledSsl
from bascule.snapshot.sni_table import SniTable


def ssl(id: str, *names: str, updated: int = 0, **more: object) -> CompiledSsl:
    return CompiledSsl(id, names, (), updated=updated, **more)  # type: ignore[arg-type]


def found(table: SniTable, name: str) -> str | None:
    one = table.find(name)
    return None if one is None else one.id


def test_exact_then_one_label_then_all() -> None:
    table = SniTable()
    for one in (ssl("exact", "a.b.test"), ssl("wild", "*.b.test"), ssl("deep", "*.x.b.test")):
        table.put(None, one)
    assert [found(table, name) for name in ("a.b.test", "c.b.test", "b.test", "y.x.b.test", "z.y.x.b.test")] == [
        "exact",
        "wild",
        None,
        "deep",
        None,
    ]
    table.put(None, ssl("all", "*"))
    assert found(table, "z.y.x.b.test") == "all"


def test_what_changed_last_serves() -> None:
    table = SniTable()
    old, new = ssl("1", "a.test", updated=5), ssl("2", "a.test", updated=6)
    table.put(None, new)
    table.put(None, old)
    assert found(table, "a.test") == "2"
    table.put(new, None)
    assert found(table, "a.test") == "1"
    table.put(old, ssl("1", "b.test"))
    assert found(table, "a.test") is None
    assert found(table, "b.test") == "1"


def test_who_asks_for_certificates_is_counted() -> None:
    table = SniTable()
    asking = ssl("1", "a.test", client_ca="CA")
    table.put(None, asking)
    table.put(None, ssl("2", "b.test", client_ca="CA", enabled=False))
    assert (table.asking, len(table)) == (1, 1)
    table.put(asking, None)
    assert (table.asking, len(table)) == (0, 0)


def test_all_of_them() -> None:
    table = SniTable()
    for one in (ssl("1", "a.test", "b.test"), ssl("2", "a.test"), ssl("off", "c.test", enabled=False)):
        table.put(None, one)
    assert {one.id for one in table} == {"1", "2"}
