"""What the demo writes."""

from repltap.demo.traffic import INITIAL_KEYS, Traffic


def test_the_same_seed_gives_the_same_commands() -> None:
    assert Traffic(3).batch(500) == Traffic(3).batch(500)
    assert Traffic(3).batch(500) != Traffic(4).batch(500)


def test_every_kind_of_write_is_in_it() -> None:
    names = {command[0] for command in Traffic().batch(2000)}
    assert names >= {"SET", "INCRBY", "HSET", "LPUSH", "SADD", "ZADD", "XADD", "DEL", "SELECT"}


def test_transactions_and_databases_are_closed_in_their_batch() -> None:
    traffic = Traffic()
    for _ in range(200):
        names = [command[0] for command in traffic.batch(7)]
        assert len(names) >= 7
        assert names.count("MULTI") == names.count("EXEC")
        assert names.count("SELECT") % 2 == 0


def test_the_dataset_to_begin_with() -> None:
    assert sum(1 for command in Traffic().initial() if command[0] == "SET") >= INITIAL_KEYS
