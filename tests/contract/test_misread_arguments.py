"""Arguments of another form, or that contradict each other: an error says what to pass instead."""

from __future__ import annotations

import re

import numpy as np
import pytest

import kernelrich_fast as krf

DATA = krf.datasets.sparse_regression(6, 9, 2)
X, Y = DATA.X, DATA.y
MATRIX = krf.datasets.low_rank_completion(6, 5, 1, 20)
# As many entries as columns: a whole matrix looks like a run for each row.
MASK = np.arange(30).reshape(6, 5) % 6 == 0
START = {"alpha": 0.1, "width": 3}


def flow_matrix(y=MATRIX.Y_star[MASK], **options):
    options = options if "U0" in options else START | options
    return krf.flow_factorization(y, **options)


def tables():
    pandas = pytest.importorskip("pandas")
    return {
        "array": np.array,
        "list": lambda a: np.asarray(a).tolist(),
        "table": pandas.DataFrame,
        "boolean": lambda a: pandas.DataFrame(a).astype("boolean"),  # which may miss values
        "tensor": lambda a: pytest.importorskip("torch").tensor(a),
    }


FORMS = ["array", "list", "table", "tensor"]


@pytest.mark.parametrize("of_mask", FORMS)
@pytest.mark.parametrize("of_matrix", FORMS)
def test_a_whole_matrix_is_not_a_run_for_each_row(of_mask, of_matrix):
    matrix, mask = tables()[of_matrix](MATRIX.Y_star), tables()[of_mask](MASK)
    with pytest.raises(ValueError, match=r"^y: expected the observed values.*\(6, 5\); pass"):
        flow_matrix(matrix, entries=mask)


@pytest.mark.parametrize("form", [*FORMS, "boolean"])
def test_masks_of_every_form_are_masks(form):
    expected = flow_matrix(entries=np.nonzero(MASK), dims=(6, 5))
    assert np.array_equal(flow_matrix(entries=tables()[form](MASK)).M, expected.M)


PAIRS = np.argwhere(MASK)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (MASK.astype(int), "entries: got an integer matrix of shape (6, 5); pass booleans"),
        (MASK.astype(int).tolist(), "entries: got an integer matrix of shape (6, 5)"),
        (MASK.astype(float), "entries: got a matrix of real numbers of shape (6, 5); pass bool"),
        (np.eye(2, 5, dtype=int), "entries: got an integer matrix of shape (2, 5); pass booleans"),
        (PAIRS, "entries: expected two arrays (rows, columns), got pairs (row, column), shape "
                "(5, 2); pass entries=tuple(pairs.T)"),
        ([tuple(p) for p in PAIRS.tolist()], "shape (5, 2); pass entries=tuple(pairs.T)"),
        (([0, 6], [0, 0]), "entries: expected rows of at most 5 in the 6 x 5 matrix of dims, "
                           "got 6"),
        (([0, 1], [0, 5]), "entries: expected columns of at most 4 in the 6 x 5 matrix"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dims", [None, (6, 5)])
def test_entries_of_another_form(entries, said, dims):
    if isinstance(entries, tuple) and dims is None:
        said = "dims: expected (d1, d2)"
    for call in (flow_matrix, krf.theory.min_nuclear_norm):
        with pytest.raises(ValueError, match=re.escape(said)):
            call(np.ones(5), entries=entries, dims=dims)


def test_two_rows_of_indices_are_entries():
    rows_columns = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    assert krf.theory.min_nuclear_norm(np.ones(4), entries=rows_columns, dims=(2, 2)).shape == (
        2,
        2,
    )


U0, V0 = np.ones((6, 3)), np.ones((5, 3))
W1, W2 = np.ones((4, 3)), np.ones((2, 4))


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ((U0, V0.T), r"V0: expected shape \(..., d2, 3\).*V0 may have been transposed"),
        ((U0.T, V0), r"V0: expected .* columns as U0.*U0 may have been transposed"),
        ((U0.T, V0.T), r"V0: expected .* got U0 of shape \(3, 6\) and V0 of shape \(3, 5\)"),
    ],
)
@pytest.mark.parametrize("where", [{"entries": MASK}, {"entries": tuple(PAIRS.T)}])
def test_transposed_factors_are_named_before_the_entries(factors, said, where):
    with pytest.raises(ValueError, match=f"^{said}"):
        flow_matrix(**where, U0=factors[0], V0=factors[1])


def test_a_matrix_too_small_for_the_entries_is_that_of_the_factors():
    with pytest.raises(ValueError, match=r"^entries: .*the 5 x 5 matrix of U0 and V0, got 5"):
        flow_matrix(np.ones(1), entries=([5], [0]), U0=V0, V0=V0)
    with pytest.raises(ValueError, match=r"^U0: expected 6 rows, got shape \(5, 3\)"):
        flow_matrix(entries=MASK, U0=V0, V0=U0)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ((W2, W1), r"W1: expected shape \(..., k, 3\), .* may have been swapped"),
        ((W1.T, W2), r"W1: expected shape \(..., k, 3\), got W1 of shape \(3, 4\)"),
        ((W1, W2.T), r"W2: expected shape \(..., 2, k\)"),
        ((W1[:3], W2), r"W1: expected 4 rows, the columns of W2"),
    ],
)
def test_layers_are_named_as_they_were_given(layers, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        krf.flow_linear(np.ones((5, 3)), np.ones((5, 2)), W1=layers[0], W2=layers[1])


LAYERS = [np.ones((4, 9)), np.ones((1, 4))]
DEEP = [np.ones((4, 9)), np.ones((5, 4)), np.ones((1, 5))]


@pytest.mark.parametrize(
    ("name", "layers", "options"),
    [
        ("seed", LAYERS, {"seed": [0, 1, 2]}),
        ("seed", LAYERS, {"seed": -1}),
        ("depth", LAYERS, {"depth": 4}),
        ("width", LAYERS, {"width": 99}),
        ("width", DEEP, {"width": 4}),
        ("init", LAYERS, {"init": "he_normal"}),
        ("n_classes", LAYERS, {"n_classes": 7}),
        ("n_classes", None, {"n_classes": 7}),
    ],
)
def test_what_contradicts_the_given_layers_is_refused(name, layers, options):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        krf.flow_mlp(X, Y, weights0=layers, **options)


@pytest.mark.parametrize(
    ("layers", "options"),
    [(LAYERS, {"depth": 2, "width": 4, "seed": 3}), (DEEP, {"depth": 3}), (DEEP, {})],
)
def test_what_agrees_with_the_given_layers_is_taken(layers, options):
    flow = krf.flow_mlp(X, Y, weights0=layers, t_max=1e-3, **options)
    assert np.array_equal(flow.weights0[0], layers[0])


def test_a_profile_beside_both_others_is_refused():
    sides = {"w_plus0": 2.0, "w_minus0": 1.0}
    for call in (krf.flow_diagonal, krf.limit_diagonal):
        with pytest.raises(ValueError, match=r"^w0: expected none beside w_plus0 and w_minus0"):
            call(X, Y, alpha=0.1, w0=7.0, **sides)
    one = krf.limit_diagonal(X, Y, alpha=0.1, w0=1.0, w_plus0=1.0, w_minus0=np.ones(9))
    assert np.array_equal(one.beta, krf.limit_diagonal(X, Y, alpha=0.1).beta)
    # With one of the two, w0 is that of the other.
    biased = krf.limit_diagonal(X, Y, alpha=0.1, w0=1.0, w_plus0=2.0)
    assert np.array_equal(biased.beta, krf.limit_diagonal(X, Y, alpha=0.1, **sides).beta)


@pytest.mark.parametrize("run", [
    lambda **o: krf.flow_diagonal(X, Y, t_eval=[0.0], **o),  # beta = 0 tells of no depth
    lambda **o: krf.flow_diagonal(X, Y, **o),
    lambda **o: krf.limit_diagonal(X, Y, **o),
    lambda **o: krf.flow_diagonal(X, np.sign(Y), loss="logistic", stop_log_loss=-3.0, **o),
])  # fmt: skip
def test_a_result_goes_on_at_its_own_depth(run):
    for depth in (3, 2.5):
        start = run(alpha=0.5, depth=depth)
        for call in (krf.flow_diagonal, krf.limit_diagonal):
            with pytest.raises(
                ValueError, match=rf"^depth: .* start, {depth}, got 2, the default; pass depth="
            ):
                call(X, Y, start=start)
        with pytest.raises(ValueError, match=rf"^depth: .* start, {depth}, got 4"):
            krf.flow_diagonal(X, Y, start=start, depth=4)
        assert krf.limit_diagonal(X, Y, start=start, depth=depth).converged


def test_depths_of_a_batch_are_compared_run_by_run():
    start = krf.flow_diagonal(X, Y, alpha=0.5, depth=[2, 3])
    assert krf.limit_diagonal(X, Y, start=start, depth=[2, 3]).converged.all()
    with pytest.raises(ValueError, match=r"^depth: expected the depth of start, 2, 3, got 2, the"):
        krf.limit_diagonal(X, Y, start=start)
    with pytest.raises(ValueError, match=r"^depth: .* start, 3, got 2"):
        krf.limit_diagonal(X, Y, start=start[1])
    begun = krf.flow_diagonal(X, Y, alpha=0.5, depth=[2, 3], t_eval=[0.0])
    with pytest.raises(ValueError, match=r"^depth: .* start, 3, got 2"):
        krf.limit_diagonal(X, Y, start=begun[1])
    assert begun.to_dataset().depth.values.tolist() == [2.0, 3.0]
    assert begun.to_dataset({"depth": [2, 3]}).sel(depth=3).beta.shape == (1, X.shape[1])
    with pytest.raises(ValueError, match=r"^dims: .*'depth' that the runs have, \[2. 3.\], got"):
        begun.to_dataset({"depth": [2, 5]})
    with pytest.raises(ValueError, match=r"^depth: .*broadcasts with that of start, \(2,\), got"):
        krf.limit_diagonal(X, Y, start=start, depth=[2, 3, 4])


@pytest.mark.parametrize("w0", [1.0, 3.0])
@pytest.mark.parametrize("depth", [2, 8, 1000])
def test_the_scales_that_a_depth_allows_are_allowed(depth, w0):
    with pytest.raises(ValueError, match=r"^alpha: .*got a weight of 1e-200$") as caught:
        krf.limit_diagonal(X, Y, alpha=1e-200 / w0, w0=w0, depth=depth)
    least, most = map(float, re.search(r"alpha from (\S+) to (\S+),", str(caught.value)).groups())
    for alpha in (least, most):
        krf.flow_diagonal(X, Y, alpha=alpha, w0=w0, depth=depth, t_eval=[0.0])
    for alpha in (0.98 * least, 1.02 * most):
        with pytest.raises(ValueError, match=r"^alpha: "):
            krf.flow_diagonal(X, Y, alpha=alpha, w0=w0, depth=depth, t_eval=[0.0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: krf.flow_diagonal(X, Y, alpha=[0.1, 1.0], depth=[2, 3, 4]),
         r"alpha \(2,\), got \(3,\).*alpha\[:, None\], or use sweep_diagonal"),
        (lambda: krf.flow_diagonal(X, Y, alpha=0.1, depth=[2, 3], rtol=[1e-3, 1e-4, 1e-5]),
         r"depth \(2,\), got \(3,\); .*depth\[:, None\]"),
        (lambda: krf.flow_mlp(X, Y, alpha=[0.1, 1.0], seed=[0, 1, 2]), r".*use sweep_mlp"),
        (lambda: flow_matrix(entries=MASK, alpha=[0.1, 1.0], rtol=[1e-3, 1e-4, 1e-5]),
         r".*use sweep_factorization"),
        (lambda: flow_matrix(entries=MASK, alpha=[0.1, 1.0], width=[1, 2, 3]),
         r"alpha \(2,\), got \(3,\); .*None\], or use the sweep"),
        (lambda: krf.flow_linear(X, X, alpha=[0.1, 1.0], width=2, rtol=[1e-3, 1e-4, 1e-5]),
         r".*use sweep_linear"),
    ],
)  # fmt: skip
def test_a_grid_needs_an_axis_for_each_argument(call, said):
    with pytest.raises(ValueError, match=f"expected leading axes that broadcast with .*{said}"):
        call()


def test_weight_decay_over_time_is_a_schedule_not_a_function():
    for call in (krf.flow_diagonal, krf.limit_diagonal):
        with pytest.raises(TypeError, match=r"^weight_decay: .*krf.schedules.exponential"):
            call(X, Y, alpha=0.1, weight_decay=lambda t: 0.1)


PRODUCT = krf.flow_diagonal(X, Y, alpha=0.1, model="product")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("eps", lambda x: krf.theory.alpha_for_l2(x, [1.0])),
        ("eps", lambda x: krf.sweep_diagonal(X, Y, alpha=0.1, eps=x)),
        ("rescale_layers", lambda x: krf.flow_diagonal(X, Y, start=PRODUCT, rescale_layers=(1, x))),
        ("threshold", lambda x: krf.theory.critical_alpha(X, Y, DATA.beta_star, threshold=x)),
    ],
)
def test_infinity_is_no_single_number(name, call):
    with pytest.raises(ValueError, match=rf"^{name}: expected a value in \(0.0, inf\), got inf"):
        call(np.inf)


def test_what_is_not_finite_is_located():
    bad = X.copy()
    bad[2, 3], bad[4, 5] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"^X: .*got nan at index \(2, 3\), and 1 more"):
        krf.flow_diagonal(bad, Y, alpha=0.1)
    with pytest.raises(ValueError, match=r"^y: .*got -inf at index 1$"):
        krf.flow_diagonal(X, np.where(np.arange(6) == 1, -np.inf, Y), alpha=0.1)
    with pytest.raises(ValueError, match=r"^t_max: expected no NaN, got nan$"):
        krf.flow_diagonal(X, Y, alpha=0.1, t_max=np.nan)


@pytest.mark.parametrize("call", [
    lambda x: krf.flow_diagonal(x, Y, alpha=0.1), lambda x: krf.flow_mlp(x, Y),
    lambda x: krf.flow_linear(x, X, alpha=0.1, width=2), lambda x: krf.theory.min_l2(x, Y),
    lambda x: krf.theory.tangent_kernel(x, 1.0, 1.0),
    lambda x: krf.theory.mlp_predict([np.ones((2, 1)), np.ones((1, 2))], x),
])  # fmt: skip
def test_one_row_of_inputs_says_how_to_make_two_axes_of_it(call):
    said = "X: .*got shape (6,); pass X[:, None] for one feature, X[None, :] for one sample"
    with pytest.raises(ValueError, match="^" + re.escape(said).replace(r"\.\*", ".*")):
        call(np.ones(6))


def test_numbers_of_every_kind_of_column_are_numbers():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X).add_prefix("f")
    table["f0"] = X[:, 0] > 0.0
    table["f1"] = pandas.array([1, 2, 3, 4, 5, 6], dtype="Int64")
    table["f2"] = table["f2"].astype("Float64")
    table["f3"] = pandas.array([True, False] * 3, dtype="boolean")
    plain = X.copy()
    plain[:, 0], plain[:, 1], plain[:, 3] = X[:, 0] > 0.0, range(1, 7), [1.0, 0.0] * 3
    y = pandas.Series(Y).astype("Float64")
    expected = krf.limit_diagonal(plain, Y, alpha=0.1).beta
    assert np.array_equal(krf.limit_diagonal(table, y, alpha=0.1).beta, expected)
    flow = flow_matrix(
        entries=tuple(pandas.Series(each).astype("Int64") for each in PAIRS.T), dims=(6, 5)
    )
    assert np.array_equal(flow.M, flow_matrix(entries=MASK).M)

    missing = table.astype({"f5": "Float64"})
    missing.loc[2, ["f1", "f5"]] = pandas.NA
    with pytest.raises(ValueError, match=r"^X: .*missing or infinite ones in the columns f1, f5;"):
        krf.limit_diagonal(missing, Y, alpha=0.1)
    y[3] = pandas.NA
    with pytest.raises(ValueError, match=r"^y: expected finite values, got nan at index 3"):
        krf.limit_diagonal(table, y, alpha=0.1)
    with pytest.raises(TypeError, match=r"^X: .*the non-numeric columns city;"):
        krf.limit_diagonal(table.assign(city="x"), Y, alpha=0.1)


def test_eps_belongs_to_margin_losses():
    with pytest.raises(ValueError, match=r"^eps: expected only with a margin loss, got 0.1"):
        krf.sweep_diagonal(X, Y, alpha=0.1, eps=0.1)


def test_options_of_limits_that_are_searched_over():
    def critical(**options):
        return krf.theory.critical_alpha(X, Y, DATA.beta_star, **options)

    with pytest.raises(TypeError, match=r"^alpha: not an option of critical_alpha, which takes w0"):
        critical(alpha=3.0)
    with pytest.raises(TypeError, match=r"^tolle: .*critical_alpha; did you mean tol\?"):
        critical(tolle=1e-3)


@pytest.mark.parametrize("wrong", [[[np.nan] * 9], X[0], [[1.0]], "a", 1.0])
def test_inputs_of_predictions_are_named(wrong):
    network = krf.flow_mlp(X, Y, width=4, alpha=1.0, t_eval=[0.0])
    with pytest.raises((TypeError, ValueError), match=r"^X_new: "):
        network.predict(wrong)


def test_a_limit_is_at_the_end_of_time():
    limit = krf.limit_diagonal(X, Y, alpha=[0.1, 1.0])
    assert limit.t.tolist() == [np.inf, np.inf]
    assert np.array_equal(limit.n_steps, limit.n_iterations)


def test_fields_are_attributes():
    flow = krf.flow_diagonal(X, Y, alpha=[0.1, 1.0])
    with pytest.raises(TypeError, match=r"^index: .*result\.beta"):
        flow["beta"]


def test_messages_say_what_came():
    S, C = X.T @ X, X[:, :2].T @ X
    for call, said in (
        (lambda: flow_matrix(), r"^entries: .*got none"),
        (lambda: flow_matrix(entries=MASK, measurements=np.ones((5, 6, 5))), r"^entries: .*both"),
        (lambda: krf.flow_mlp(X, [0, 1, 2, 0.5, 1, 1], loss="cross_entropy"), r"^y: .*got 0\.5"),
        (lambda: krf.flow_linear(S=np.triu(S), C=C, alpha=1.0, width=2), r"^S: .*up to [1-9]"),
        (lambda: krf.flow_linear(S=-S, C=C, alpha=1.0, width=2), r"^S: .*got -[1-9]"),
        (lambda: krf.flow_diagonal(X, 1.0, alpha=1.0), r"^y: expected at least 1 dimension, got"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
