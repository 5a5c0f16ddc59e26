"""Whose turn it is: fair between drivers, urgent work first, and the worker that suits."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from asvp.actors.turns import Keys, Lease, Request, Turns


def turns(workers: dict[str, str]) -> Turns:
    made = Turns()
    for name, node in workers.items():
        made.add(name, node)
    return made


def ask(made: Turns, driver: str, ticket: str, **rest: object) -> None:
    made.ask(Request(ticket, driver, **rest))  # type: ignore[arg-type]


def given_out(made: Turns) -> list[Lease]:
    return list(made.grants())


def test_twelve_drivers_share_one_worker_evenly() -> None:
    made = turns({"w": "n"})
    served: Counter[str] = Counter()
    for driver in range(12):
        for number in range(5):
            ask(made, f"d{driver}", f"{driver}-{number}")
    for _ in range(36):
        [lease] = given_out(made)
        served[lease.request.driver] += 1
        made.give_back(lease.request.ticket)
    assert set(served.values()) == {3}


def test_one_driver_has_all_workers_while_nobody_else_waits() -> None:
    made = turns({"a": "n", "b": "n", "c": "n"})
    for number in range(12):
        ask(made, "d", str(number))
    assert {lease.workers for lease in given_out(made)} == {("a",), ("b",), ("c",)}


def test_a_driver_with_many_requests_gives_way_to_one_with_one() -> None:
    made = turns({"a": "n", "b": "n", "c": "n"})
    for number in range(12):
        ask(made, "many", f"m{number}")
    first = given_out(made)
    assert not made.others_wait(first[0].request.ticket)
    ask(made, "one", "o")
    assert made.others_wait(first[0].request.ticket)
    made.give_back(first[0].request.ticket)
    assert [lease.request.driver for lease in given_out(made)] == ["one"]


def test_urgent_work_goes_before_other_work_of_any_driver() -> None:
    made = turns({"w": "n"})
    ask(made, "a", "evaluation", urgent=False)
    ask(made, "b", "loop")
    order = []
    while leases := given_out(made):
        order.append(leases[0].request.ticket)
        if order == ["loop"]:
            assert not made.others_wait("loop"), "an evaluation takes no worker away from a loop"
        made.give_back(order[-1])
    assert order == ["loop", "evaluation"]


def test_an_evaluation_gives_way_to_the_loop_of_its_own_driver() -> None:
    made = turns({"w": "n"})
    ask(made, "a", "evaluation", urgent=False)
    given_out(made)
    assert not made.others_wait("evaluation")
    ask(made, "a", "loop")
    assert made.others_wait("evaluation")


def test_the_worker_that_holds_the_encoder_is_preferred_and_before_it_the_node_of_the_features() -> None:
    made = turns({"a": "n1", "b": "n2", "c": "n2"})
    ask(made, "d", "1", likes="tuned", near=frozenset({"n2"}))
    [first] = given_out(made)
    made.give_back("1")
    ask(made, "d", "2", likes="tuned")
    [again] = given_out(made)
    assert first.workers[0] in ("b", "c")
    assert again.workers == first.workers
    made.give_back("2")
    ask(made, "d", "3", likes="tuned", near=frozenset({"n1"}))
    assert given_out(made)[0].workers == ("a",)


def test_a_lone_driver_borrows_the_cores_of_a_whole_node_and_no_more() -> None:
    made = turns({"a": "n1", "b": "n1", "c": "n1", "d": "n2"})
    ask(made, "d", "wide", width=100, near=frozenset({"n1"}))
    [lease] = given_out(made)
    assert set(lease.workers) == {"a", "b", "c"}
    ask(made, "d", "next")
    assert given_out(made)[0].workers == ("d",)
    made.give_back("wide")
    ask(made, "d", "third")
    assert given_out(made)[0].workers[0] in ("a", "b", "c")


def test_nobody_gets_more_than_an_even_share_while_others_are_in_the_pool() -> None:
    made = turns({name: "n" for name in "abcd"})
    made.join("other")
    ask(made, "d", "wide", width=100)
    [lease] = given_out(made)
    assert len(lease.workers) == 2
    for driver in range(10):
        made.join(f"more {driver}")
    ask(made, "d", "narrow", width=100)
    assert len(given_out(made)[0].workers) == 1


def test_a_team_is_lent_whole_and_on_one_node() -> None:
    made = turns({"a": "n1", "b": "n2", "c": "n2", "d": "n1", "e": "n2"})
    ask(made, "d", "team", team=3, near=frozenset({"n1"}))
    [lease] = given_out(made)
    assert set(lease.workers) == {"b", "c", "e"}
    ask(made, "d", "single")
    assert given_out(made)[0].workers[0] in ("a", "d")


def test_a_team_is_lent_the_workers_that_hold_its_encoder() -> None:
    made = turns({name: "n" for name in "abcd"})
    ask(made, "d", "1", likes="tuned", team=2)
    [first] = given_out(made)
    made.give_back("1")
    ask(made, "d", "2", likes="other", team=2)
    [second] = given_out(made)
    assert not set(first.workers) & set(second.workers)
    made.give_back("2")
    ask(made, "d", "3", likes="tuned", team=2)
    assert set(given_out(made)[0].workers) == set(first.workers)


def test_workers_of_a_node_are_kept_for_a_team_until_it_is_whole() -> None:
    made = turns({"a": "n1", "b": "n1", "c": "n2"})
    for number in range(3):
        ask(made, "many", f"m{number}")
    first = {lease.workers[0]: lease.request.ticket for lease in given_out(made)}
    ask(made, "team", "t", team=2)
    for number in range(3, 9):
        ask(made, "many", f"m{number}")
    made.give_back(first["a"])
    assert given_out(made) == [], "it is kept for the team, whose turn it is"
    assert made.others_wait(first["b"])
    made.give_back(first["c"])
    assert [lease.workers for lease in given_out(made)] == [("c",)], "the other node works on"
    made.give_back(first["b"])
    assert [lease.request.ticket for lease in given_out(made)] == ["t"]


def test_a_team_that_is_not_first_keeps_nobody_from_work() -> None:
    made = turns({"a": "n", "b": "n"})
    ask(made, "loop", "held")
    given_out(made)
    ask(made, "beside", "team", team=2, urgent=False)
    ask(made, "loop", "next")
    assert [lease.request.ticket for lease in given_out(made)] == ["next"]


def test_two_teams_that_wait_are_served_one_after_the_other() -> None:
    made = turns({name: "n" for name in "abc"})
    ask(made, "x", "single")
    given_out(made)
    ask(made, "y", "first", team=3)
    ask(made, "z", "second", team=2)
    assert given_out(made) == [], "two are idle, and they are kept for the first"
    made.give_back("single")
    assert [lease.request.ticket for lease in given_out(made)] == ["first"]
    made.give_back("first")
    assert [lease.request.ticket for lease in given_out(made)] == ["second"]


def test_two_teams_gather_on_two_nodes() -> None:
    made = turns({"a": "n1", "b": "n1", "c": "n2", "d": "n2"})
    for number in range(4):
        ask(made, "x", f"{number}")
    held = {lease.workers[0]: lease.request.ticket for lease in given_out(made)}
    ask(made, "y", "first", team=2)
    ask(made, "z", "second", team=2)
    made.give_back(held["a"])
    made.give_back(held["c"])
    assert given_out(made) == []
    made.give_back(held["d"])
    assert [set(lease.workers) for lease in given_out(made)] == [{"c", "d"}]
    made.give_back(held["b"])
    assert [set(lease.workers) for lease in given_out(made)] == [{"a", "b"}]


def test_where_a_worker_of_a_gathering_team_dies_the_others_are_lent_again_until_there_are_enough() -> None:
    made = turns({"a": "n", "b": "n", "c": "n"})
    ask(made, "x", "single")
    [single] = given_out(made)
    ask(made, "y", "team", team=3)
    assert given_out(made) == []
    assert single.workers == ("a",)
    made.remove("b")
    ask(made, "x", "another")
    assert [lease.request.ticket for lease in given_out(made)] == ["another"]
    made.add("new", "n")
    for ticket in ("single", "another"):
        made.give_back(ticket)
    [lease] = given_out(made)
    assert set(lease.workers) == {"a", "c", "new"}
    assert made.most_on_a_node() == 3


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(1, 3), st.booleans()), min_size=1, max_size=12))
def test_all_teams_and_all_others_are_served_in_the_end(requests: list[tuple[str, int, bool]]) -> None:
    made = turns({"a": "n1", "b": "n1", "c": "n1", "d": "n2", "e": "n2"})
    for number, (driver, team, urgent) in enumerate(requests):
        ask(made, driver, str(number), team=team, urgent=urgent)
    served, held = [], given_out(made)
    while held:
        busy = [name for lease in held for name in lease.workers]
        assert len(busy) == len(set(busy))
        for lease in held:
            assert len({made.node_of(name) for name in lease.workers}) == 1
        done = held.pop(0)
        assert len(done.workers) >= done.request.team
        served.append(done.request.ticket)
        made.give_back(done.request.ticket)
        held += given_out(made)
    assert sorted(served) == sorted(str(number) for number in range(len(requests)))


def test_what_a_driver_that_is_gone_waited_for_is_forgotten_and_what_it_has_is_told() -> None:
    made = turns({"w": "n"})
    ask(made, "dead", "held")
    ask(made, "dead", "wanted")
    ask(made, "alive", "next")
    given_out(made)
    assert [lease.request.ticket for lease in made.leave("dead")] == ["held"]
    assert made.waiting == 1
    made.give_back("held")
    assert [lease.request.driver for lease in given_out(made)] == ["alive"]


def test_a_worker_that_died_is_lent_to_nobody() -> None:
    made = turns({"a": "n", "b": "n"})
    ask(made, "d", "1")
    [lease] = given_out(made)
    made.remove(lease.workers[0])
    made.give_back("1")
    for number in range(3):
        ask(made, "d", f"x{number}")
    [left] = {"a", "b"} - set(lease.workers)
    assert [again.workers for again in given_out(made)] == [(left,)]


def test_a_request_that_is_withdrawn_is_never_served_and_a_lease_goes_back() -> None:
    made = turns({"w": "n"})
    ask(made, "d", "1")
    ask(made, "d", "2")
    given_out(made)
    made.withdraw("2")
    made.withdraw("1")
    assert made.waiting == 0
    ask(made, "d", "3")
    assert [lease.request.ticket for lease in given_out(made)] == ["3"]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 4)), min_size=1, max_size=60),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_every_request_is_served_once_and_no_worker_twice_at_a_time(
    asked: list[tuple[int, bool, int]], workers: int, random: object
) -> None:
    made = turns({f"w{number}": f"n{number % 2}" for number in range(workers)})
    for number, (driver, urgent, width) in enumerate(asked):
        ask(made, f"d{driver}", str(number), urgent=urgent, width=width)
    out: dict[str, Lease] = {}
    served = []
    while made.waiting or out:
        for lease in made.grants():
            busy = [name for other in out.values() for name in other.workers]
            assert not set(busy) & set(lease.workers)
            out[lease.request.ticket] = lease
            served.append(lease.request.ticket)
        back = random.choice(sorted(out))  # type: ignore[attr-defined]
        made.give_back(back)
        del out[back]
    assert sorted(served) == sorted(str(number) for number in range(len(asked)))


def test_of_those_that_want_the_same_one_has_it_and_the_next_follows() -> None:
    keys = Keys()
    assert keys.ask("k", "1")
    assert not keys.ask("k", "2")
    assert not keys.ask("k", "3")
    assert keys.ask("other", "4")
    assert keys.let_go("k", "2") is None, "it only waited"
    assert keys.let_go("k", "1") == "3"
    assert keys.let_go("k", "3") is None
    assert keys.ask("k", "5")


def test_letting_go_of_what_one_has_not_does_no_harm() -> None:
    assert Keys().let_go("k", "never seen") is None


def test_what_is_not_urgent_borrows_no_cores_and_neither_does_anybody_where_workers_hold_gpus() -> None:
    made = turns({"a": "n", "b": "n"})
    ask(made, "d", "evaluation", width=99, urgent=False)
    assert given_out(made)[0].workers == ("a",)
    with_gpus = Turns(lends_cores=False)
    with_gpus.add("a", "n")
    with_gpus.add("b", "n")
    ask(with_gpus, "d", "loop", width=99)
    assert given_out(with_gpus)[0].workers == ("a",)


def test_work_that_a_loop_came_to_wait_for_is_urgent_from_then_on() -> None:
    made = turns({"w": "n"})
    ask(made, "a", "evaluation", urgent=False)
    ask(made, "b", "loop")
    made.hurry("a")
    assert given_out(made)[0].request.ticket == "evaluation", "it came first"
