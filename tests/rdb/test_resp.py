from repltap.rdb.resp import command, number


def test_commands() -> None:
    assert command(b"SET", b"", b"\r\n") == b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n"
    assert number(-12) == b"-12"
