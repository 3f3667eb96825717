from rayreel.release.registry import model_card


def test_the_card_shows_every_fact_of_the_training() -> None:
    card = model_card("rayreel-tower", {"encoder_key": "net-123", "videos": 300, "ndcg@10": 0.5})
    assert card.startswith("# rayreel-tower\n")
    for row in ("| encoder_key | net-123 |", "| videos | 300 |", "| ndcg@10 | 0.5 |"):
        assert row in card.splitlines()


def test_the_card_states_the_intended_use_of_the_model() -> None:
    card = model_card("rayreel-tower", {})
    assert "Meant for" in card
    assert "Not meant for" in card
