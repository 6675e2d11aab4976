from repltap.rdb.fault import FaultError


def test_it_carries_what_and_where() -> None:
    fault = FaultError("wrong", 7)
    assert (fault.message, fault.position, str(fault)) == ("wrong", 7, "wrong")
