from repltap.rdb.entries import Database, End, ModuleAux, SlotImport
from repltap.rdb.losses import Losses


def test_what_is_counted() -> None:
    losses = Losses()
    for item in (
        Database(0),
        ModuleAux("ReJSON-RL", 0, 1, 9),
        ModuleAux("ReJSON-RL", 0, 2, 9),
        SlotImport(b"j", []),
        End(0, 9, False),
        End(0, 77, True),
    ):
        losses.see(item)
    losses.add("x")
    assert losses.counts == {
        "data of the module ReJSON-RL beside the keys": 2,
        "slot migrations under way": 1,
        "bytes behind the end of the RDB, which is at byte 77": 1,
        "x": 1,
    }
