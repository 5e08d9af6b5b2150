from bascule.snapshot.consumer_binding import ConsumerBinding
from bascule.snapshot.consumer_index import ConsumerIndex

JOE, JANE, JIM = ("consumers", "joe"), ("consumers", "jane"), ("consumers", "jim")
KEY, OTHER = ("key-auth", "k"), ("key-auth", "o")


def claim(who, *keys):
    return who, {key: ConsumerBinding(who[1]) for key in keys}


def owner(index, key=KEY):
    found = index.find(*key)
    return found and found.consumer_name


def test_find():
    index = ConsumerIndex()
    assert index.find("key-auth", "k") is None
    assert index.claim([claim(JOE, KEY)]) == {JOE}
    assert owner(index) == "joe"
    assert index.find("other", "k") is None
    index.claim([claim(JOE)])
    assert owner(index) is None


def test_the_first_keeps_the_key_and_the_next_inherits_it():
    index = ConsumerIndex()
    index.claim([claim(JOE, KEY), claim(JANE, KEY), claim(JIM, KEY)])
    assert owner(index) == "joe"
    assert index.duplicates(JOE) == []
    assert index.duplicates(JANE) == index.duplicates(JIM) == [("key-auth", "joe")]
    assert index.claim([claim(JOE)]) == {JOE, JANE, JIM}
    assert owner(index) == "jane"
    assert index.duplicates(JANE) == []
    assert index.duplicates(JIM) == [("key-auth", "jane")]
    index.claim([claim(JIM)])
    index.claim([claim(JANE)])
    assert owner(index) is None


def test_a_new_version_of_the_owner_keeps_the_key():
    index = ConsumerIndex()
    index.claim([claim(JOE, KEY)])
    index.claim([claim(JANE, KEY)])
    new = claim(JOE, KEY, OTHER)
    index.claim([new])
    assert index.find(*KEY) is new[1][KEY]
    waiting = claim(JANE, KEY)
    index.claim([waiting])
    assert index.find(*KEY) is new[1][KEY]
    index.claim([claim(JOE)])
    assert index.find(*KEY) is waiting[1][KEY]


def test_keys_may_be_swapped_in_one_step():
    index = ConsumerIndex()
    index.claim([claim(JOE, KEY), claim(JANE, OTHER)])
    index.claim([claim(JOE, OTHER), claim(JANE, KEY)])
    assert (owner(index, KEY), owner(index, OTHER)) == ("jane", "joe")
    assert index.duplicates(JOE) == index.duplicates(JANE) == []


def test_names():
    index = ConsumerIndex()
    joe = ConsumerBinding("joe")
    index.name("joe", joe)
    assert index.find_by_name("joe") is joe
    index.name("joe", None)
    index.name("joe", None)
    assert index.find_by_name("joe") is None
