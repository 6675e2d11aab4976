"""What is counted."""

from pathlib import Path

from sinks._file.counts import Counts


def test_each_wait_for_the_disk_is_counted(tmp_path: Path) -> None:
    counts = Counts()
    with open(tmp_path / "file", "wb") as file:
        counts.sync(file.fileno())
    counts.sync_directory(tmp_path)
    values = {sample.name: sample.value for sample in counts.samples("audit", 17)}
    assert all(sample.labels == {"sink": "audit"} for sample in counts.samples("audit", 17))
    assert values["sink_file_fsyncs_total"] == 2
    assert values["sink_file_fsync_seconds_total"] > 0
    assert values["sink_file_current_bytes"] == 17
