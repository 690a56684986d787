"""The order of measurements."""

from side_by_side.plan import Plan, schedule


ARMS = ["veth", "openvpn", "wireguard-go", "ocserv"]


def _steps(seed=1, rounds=4):
    return list(schedule(Plan(rounds, 1.0, ("tcp-1", "ping"), "cubic", seed), ARMS))


def test_every_arm_is_measured_once_a_round_and_metric():
    """Nobody gets an extra turn, and nobody is forgotten."""
    steps = _steps()
    wanted = {(number, metric, arm) for number in range(4) for metric in ("tcp-1", "ping") for arm in ARMS}
    assert {(step.round, step.metric, step.arm) for step in steps} == wanted
    assert len(steps) == len(wanted)


def test_trials_of_one_metric_and_round_are_neighbours():
    """A ratio is taken of these."""
    cells = [(step.round, step.metric) for step in _steps()]
    assert cells == sorted(cells, key=lambda cell: (cell[0], ("tcp-1", "ping").index(cell[1])))


def test_the_order_of_arms_changes():
    """Otherwise one arm would always follow the same other one."""
    steps = _steps(rounds=8)
    orders = {tuple(step.arm for step in steps[at : at + 4]) for at in range(0, len(steps), 4)}
    assert len(orders) > 4


def test_a_seed_gives_one_order():
    """A run can be repeated as it was."""
    assert _steps(seed=7) == _steps(seed=7)
    assert _steps(seed=7) != _steps(seed=8)
