"""What a chapter shows of a claim whose last bits decide its path: what is recorded."""

import pytest

from batchnorm import claims, figures
from batchnorm.claims import ledger, registry
from batchnorm.claims.show import CHAOTIC


@pytest.fixture
def shown(monkeypatch, capsys):
    """A function that shows a claim -> the results that are drawn, what is printed."""

    def show(id):
        drawn = []
        monkeypatch.setattr(figures, "strips", drawn.extend)
        claims.show(id)
        return drawn, capsys.readouterr().out

    return show


@pytest.mark.parametrize("id", sorted(CHAOTIC))
def test_a_chaotic_claim_shows_its_record_and_runs_nothing(shown, monkeypatch, id):
    claim = claims.get(id)
    monkeypatch.setattr(type(claim), "run", lambda *_: pytest.fail("it was run"))
    (result,), said = shown(id)
    kept = ledger.confirmation(claim, ledger.read())
    assert result.effects.tolist() == kept["effects"]
    assert (list(result.seeds), result.verdict) == (kept["seeds"], kept["verdict"])
    assert "Recorded:" in said
    assert "Here:" not in said


def test_any_other_claim_is_run_on_the_seeds_of_a_chapter(shown):
    (result,), said = shown("joint-whitening-explodes")
    assert result.seeds == tuple(claims.CHAPTER_SEEDS)
    assert "Here:" in said


def test_the_chaotic_claims_are_claims():
    assert set(CHAOTIC) <= set(registry._claims)
