"""What a chapter shows of its claims: a run on its own seeds, beside the record."""

from batchnorm import claims, figures


def test_a_claim_is_run_on_the_seeds_of_a_chapter(monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(figures, "strips", drawn.extend)
    claims.show("joint-whitening-explodes")
    (result,), said = drawn, capsys.readouterr().out
    assert result.seeds == tuple(claims.CHAPTER_SEEDS)
    assert "Here:" in said
    assert "Confirmed:" in said
