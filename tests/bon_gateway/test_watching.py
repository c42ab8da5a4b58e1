from bon_gateway.watching import PassedCheckpoints


def test_each_checkpoint_is_told_once_and_of_several_the_last() -> None:
    progress = PassedCheckpoints((4, 8, 16, 32))
    told = [progress.passed(tokens) for tokens in (0, 3, 4, 5, 20, 31, 32, 99)]
    assert told == [None, None, 4, None, 16, None, 32, None]


def test_without_checkpoints_nothing_is_told() -> None:
    assert PassedCheckpoints(()).passed(10) is None
