"""The campaign in its short form: the long one is `python -m tests.faults.campaign`."""

from pathlib import Path

import pytest

from tests.faults.table import Row
from tests.faults.trials import Campaign


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return Campaign(tmp_path_factory.mktemp("campaign"))


def require_good(campaign: Campaign, fault: str) -> list[Row]:
    rows = [row for row in campaign.rows.values() if row.fault == fault]
    assert rows
    for row in rows:
        assert row.trials > 0
        assert row.bad == 0, row
        assert row.trials == row.resumed + row.refused + row.fell_back, row
    return rows


@pytest.mark.timeout(300)  # it starts many jobs, each with a limit of its own
def test_killed_runs_resume_to_the_same_bits(campaign: Campaign) -> None:
    campaign.kills(3)
    assert all(row.refused == 0 for row in require_good(campaign, "SIGKILL of a random rank"))


def test_a_kill_in_the_middle_of_a_commit_leaves_the_generation_before(campaign: Campaign) -> None:
    campaign.commit("write-half", 8, 0)
    assert all(row.refused == 0 for row in require_good(campaign, "SIGKILL in a commit"))


def test_a_power_cut_at_any_moment_loses_no_generation(campaign: Campaign) -> None:
    row = campaign.power("power cut", [])
    assert row.trials > 100
    assert row.wrong == 0, row


def test_a_writer_that_does_not_sync_is_found_out(campaign: Campaign) -> None:
    row = campaign.power("negative control", ["*:sync:1:off"])
    assert row.wrong > 0


def test_an_error_of_one_rank_in_the_writer_ends_all(campaign: Campaign) -> None:
    outcome, folder = campaign.begin(2, ["1:write:3:raise"])
    assert outcome.code == 1
    assert outcome.text.count("error: ") == 1
    assert "rank 1: ValueError: an error that nobody foresees" in outcome.text
    assert "results.h5" not in {path.name for path in Path(folder).iterdir()}


def test_a_full_disk_is_survived(campaign: Campaign) -> None:
    campaign.failing_disk("enospc", "write", 5)
    require_good(campaign, "ENOSPC")
