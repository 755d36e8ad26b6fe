"""The tree of label tokens, on sequences small enough to draw."""

from __future__ import annotations

import numpy as np

from harness.scoring.trie import ROOT, build_trie, greedy_walk, path_sums

END = 9
#   5 - 6 - END     "a b"
#     \ END         "a"
#   7 - END         "c"
SEQUENCES = [(5, 6, END), (5, END), (7, END)]


def test_shared_beginnings_are_one_node() -> None:
    trie = build_trie(SEQUENCES)
    assert trie.tokens.size == 6
    assert trie.n_inner == 3
    assert trie.tokens[: trie.n_inner].tolist() == [5, 7, 6]
    assert trie.parents.tolist()[:3] == [ROOT, ROOT, 0]
    assert trie.depths.tolist() == [0, 0, 1, 1, 1, 2]
    assert [[int(trie.tokens[node]) for node in path] for path in trie.paths] == [list(one) for one in SEQUENCES]


def test_a_node_sees_its_own_path_alone() -> None:
    assert build_trie(SEQUENCES).sees().tolist() == [[True, False, False], [False, True, False], [True, False, True]]


def test_sums_go_along_paths_and_leave_out_what_belongs_to_the_prompt() -> None:
    trie = build_trie(SEQUENCES)
    log_p = np.zeros((1, 6))
    for node, value in zip(trie.paths[0], (-1.0, -2.0, -4.0), strict=True):
        log_p[0, node] = value
    assert path_sums(trie, log_p, [0, 0, 0]).tolist() == [[-7.0, -1.0, 0.0]]
    assert path_sums(trie, log_p, [1, 0, 0]).tolist() == [[-6.0, -1.0, 0.0]]


def test_a_walk_takes_the_likeliest_child_and_not_the_likeliest_sequence() -> None:
    trie = build_trie(SEQUENCES)
    log_p = np.zeros((2, 6))
    log_p[0, [trie.paths[0][0], trie.paths[2][0]]] = [-0.5, -0.9]  # goes to 5, though 7 END is likelier as a whole
    log_p[0, [trie.paths[0][1], trie.paths[1][1]]] = [-3.0, -2.0]
    log_p[1, trie.paths[0][0]] = -1.0
    assert greedy_walk(trie, log_p).tolist() == [1, 2]


def test_a_tie_goes_to_the_sequence_that_comes_first() -> None:
    assert greedy_walk(build_trie(SEQUENCES), np.zeros((1, 6))).tolist() == [0]
    assert greedy_walk(build_trie(SEQUENCES[::-1]), np.zeros((1, 6))).tolist() == [0]


def test_a_node_without_probability_is_never_gone_down_beside_one_with() -> None:
    trie = build_trie(SEQUENCES)
    log_p = np.full((1, 6), -np.inf)
    log_p[0, list(trie.paths[2])] = -50.0
    assert greedy_walk(trie, log_p).tolist() == [2]
