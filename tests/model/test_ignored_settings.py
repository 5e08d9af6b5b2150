from bascule.model.ignored_settings import take_ignored


def test_ignored_keys_are_taken_out_and_named() -> None:
    document = {
        "apisix": {"node_listen": 1, "extra_lua_path": "x"},
        "nginx_config": {"http": {"lua_shared_dict": {"a": "1m"}}},
    }
    rest, ignored = take_ignored(document)
    assert rest == {"apisix": {"node_listen": 1}}
    assert [key.path for key in ignored] == ["apisix.extra_lua_path", "nginx_config.http.lua_shared_dict"]
    assert "Lua" in str(ignored[0])
    assert "extra_lua_path" in document["apisix"], "the document itself is left as it was"


def test_a_star_stands_for_a_part_of_a_key() -> None:
    rest, ignored = take_ignored(
        {"nginx_config": {"http": {"send_timeout": 1, "real_ip_from": ["x"], "real_ip_header": "y"}}}
    )
    assert rest == {"nginx_config": {"http": {"send_timeout": 1}}}
    assert [key.path for key in ignored] == ["nginx_config.http.real_ip_from", "nginx_config.http.real_ip_header"]


def test_what_says_nothing_is_not_named() -> None:
    assert take_ignored({"apisix": {"extra_lua_path": ""}, "wasm": None}) == ({}, ())


def test_odd_shapes_are_left_to_the_check() -> None:
    assert take_ignored({"apisix": [1], "nginx_config": "x"}) == ({"apisix": [1], "nginx_config": "x"}, ())
