"""MONITOR's lines: their form is what real replicas show (tests/e2e/test_monitor.py compares)."""

from repltap.delivery._hot.decoder import StreamDecoder
from repltap.delivery._hot.monitor_lines import HOLD_BYTES, SHOWN_BYTES, MonitorLines
from tests.stored import command

TIME_US = 1_700_000_000_000_042
HEAD = b"+1700000000.000042 [0 10.0.0.1:6379] "


def lines(db: int = 0) -> MonitorLines:
    return MonitorLines(frozenset([b"REPLCONF"]), b"10.0.0.1:6379", db)


def shown(stream: bytes, made: MonitorLines | None = None) -> list[bytes]:
    return (made or lines()).write(StreamDecoder(0).feed(stream), TIME_US)


def test_a_line() -> None:
    assert shown(command(b"Set", b"a key", b"")) == [HEAD + b'"Set" "a key" ""\r\n']


def test_what_is_not_printable_is_escaped() -> None:
    raw = bytes(range(256))
    (line,) = shown(command(b"SET", b"plain", raw))
    escaped = line.removeprefix(HEAD + b'"SET" "plain" "').removesuffix(b'"\r\n')
    assert escaped[:12] == rb"\x00\x01\x02"
    assert rb"\x06\a\b\t\n\x0b\x0c\r\x0e" in escaped
    assert rb" !\"#$" in escaped
    assert rb"[\\]" in escaped
    assert escaped.endswith(rb"\xfe\xff")
    unescaped = escaped.decode("ascii").encode().decode("unicode_escape").encode("latin-1")
    assert unescaped == raw


def test_the_database_is_followed() -> None:
    made = lines(db=7)
    assert shown(command(b"DEL", b"k"), made) == [HEAD.replace(b"[0", b"[7") + b'"DEL" "k"\r\n']
    found = shown(command(b"select", b"12") + command(b"DEL", b"k"), made)
    assert found == [
        HEAD.replace(b"[0", b"[12") + b'"select" "12"\r\n',
        HEAD.replace(b"[0", b"[12") + b'"DEL" "k"\r\n',
    ]


def test_what_is_for_administrators_is_hidden() -> None:
    assert shown(command(b"replconf", b"GETACK", b"*") + command(b"PING")) == [HEAD + b'"PING"\r\n']


def test_a_transaction_is_shown_with_its_exec() -> None:
    made = lines()
    decoder = StreamDecoder(50)
    before = command(b"SET", b"a", b"1")
    begun = before + command(b"MULTI") + command(b"SELECT", b"3")
    assert made.write(decoder.feed(begun + command(b"DEL", b"b")), TIME_US) == [
        HEAD + b'"SET" "a" "1"\r\n'
    ]
    assert (made.held_from, made.held_db) == (50 + len(before), 0)
    found = made.write(decoder.feed(command(b"EXEC")), TIME_US)
    assert [line.split(b"] ")[1] for line in found] == [
        b'"MULTI"\r\n',
        b'"SELECT" "3"\r\n',
        b'"DEL" "b"\r\n',
        b'"EXEC"\r\n',
    ]
    assert made.held_from == -1


def test_one_that_is_abandoned_is_not_shown() -> None:
    made = lines()
    assert shown(command(b"MULTI") + command(b"DEL", b"b"), made) == []
    made.abandon()
    assert shown(command(b"PING"), made) == [HEAD + b'"PING"\r\n']


def test_one_that_is_too_large_to_hold_is_shown_as_it_comes() -> None:
    made = lines()
    large = command(b"SET", b"k", b"x" * (HOLD_BYTES // 40))
    assert shown(command(b"MULTI") + large * 39, made) == []
    assert len(shown(large * 3, made)) == 43
    assert len(shown(command(b"EXEC"), made)) == 1


def test_a_large_value_is_cut() -> None:
    value = b"\n" * (SHOWN_BYTES + 10)
    (line,) = shown(command(b"SET", b"key", value, b"EX", b"5"))
    assert line.endswith(rb'\n... (25 more bytes)" "... (2 more arguments)"' + b"\r\n")
    assert len(line) < 2 * SHOWN_BYTES + 200


def test_many_arguments_are_cut() -> None:
    (line,) = shown(command(b"DEL", *[b""] * 100_000))
    assert line.endswith(b'"" "... (12621 more arguments)"\r\n')
    (line,) = shown(command(b"DEL", b"x" * (SHOWN_BYTES - 9)))
    assert line.endswith(b'xxx"\r\n')


def test_spellings_are_forgotten_in_time() -> None:
    made = lines()
    for number in range(9000):
        assert len(shown(command(b"cmd%d" % number), made)) == 1
    assert shown(command(b"REPLCONF", b"GETACK", b"*"), made) == []
