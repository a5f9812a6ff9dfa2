"""What expressions of users read and print; the grammar's errors; a round trip."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erm_gym.feedback import UserError, users
from erm_gym.feedback.users import (
    Batched,
    Cached,
    Clipped,
    Delay,
    Drift,
    Expression,
    Flip,
    Named,
    Noise,
    Piped,
    Sparse,
    Stage,
    Sum,
    named,
    parse,
)

A, B = named("risk-averse"), named("math:copysign")


@pytest.mark.parametrize(
    ("text", "expression", "canonical"),
    [
        ("risk-averse", A, "risk-averse"),
        (" ( risk-averse ) ", A, "risk-averse"),
        ("1*risk-averse", A, "risk-averse"),
        ("0.7*risk-averse + 0.3*math:copysign", 0.7 * A + 0.3 * B, None),
        (".5*risk-averse - .5*math:copysign", 0.5 * A - 0.5 * B, None),
        ("-risk-averse", -A, "-risk-averse"),
        ("2.5e-1*risk-averse", 0.25 * A, "0.25*risk-averse"),
        ("0.5*(risk-averse + math:copysign)", 0.5 * (A + B), None),
        (
            "0.5*risk-averse + 0.5*math:copysign | noise(scale=0.1) | sparse(.5)",
            0.5 * A + 0.5 * B | Noise(scale=0.1) | Sparse(p=0.5),
            "0.5*risk-averse + 0.5*math:copysign | noise(0.1) | sparse(0.5)",
        ),
        (
            "0.5*risk-averse + 0.5*(math:copysign | delay(2))",
            0.5 * A + 0.5 * (B | Delay(turns=2)),
            None,
        ),
        ("risk-averse | cached() | drift(-0.1, end=-0.5)", None, None),
        ("risk-averse | clipped(high=1, low=-0.5)", A | Clipped(low=-0.5, high=1.0), None),
    ],
)
def test_texts(text: str, expression: Expression | None, canonical: str | None) -> None:
    read = parse(text)
    assert expression is None or read == expression
    assert canonical is None or str(read) == canonical
    assert parse(str(read)) == read


def test_options_of_users() -> None:
    read = parse("""math:x(b=2, a="it's \\"so\\"", c=true, d=-0.5, e=word, f='true')""")
    assert isinstance(read, Named)
    assert dict(read.options) == {
        "a": 'it\'s "so"',
        "b": 2,
        "c": True,
        "d": -0.5,
        "e": "word",
        "f": "true",
    }
    assert type(dict(read.options)["b"]) is int
    assert str(read) == """math:x(a="it's \\"so\\"", b=2, c=true, d=-0.5, e=word, f="true")"""
    assert parse(str(read)) == read


def test_an_address_is_the_remote_user() -> None:
    read = parse("0.5*https://host:80/judge?a=1+2(timeout=3) - 0.5*risk-averse")
    remote = Named(name="remote", options=(("url", "https://host:80/judge?a=1+2"), ("timeout", 3)))
    assert read == 0.5 * remote - 0.5 * A
    assert str(remote) == 'remote(timeout=3, url="https://host:80/judge?a=1+2")'
    assert named("http://x", timeout=3) == parse("http://x(timeout=3)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the name of a user, got the end"),
        ("risk-avers", "unknown user 'risk-avers'; did you mean 'risk-averse'?"),
        ("0.5*risk-averse + 0.5*risk-avers", "did you mean 'risk-averse'.*at column 23 of '0.5"),
        ("risk-averse | nois(0.1)", "unknown name 'nois' after '|'; did you mean 'noise'.*n 15"),
        ("risk-averse | noise", "noise needs scale, at column 15"),
        ("risk-averse | noise(0.1, 2)", r"noise takes the options \['scale'\], at column 26"),
        ("risk-averse | noise(scal=1)", "unknown option 'scal'; did you mean 'scale'.*column 21"),
        ("risk-averse | noise(1, scale=1)", "scale is given twice"),
        ("risk-averse | noise(-1)", "scale must be a number from 0 to 10, got -1.0, at column 15"),
        ("risk-averse | noise(loud)", "scale must be a number from 0 to 10, got 'loud'"),
        ("risk-averse | delay(1.5)", "turns must be a whole number from 1, got 1.5"),
        ("risk-averse | drift(0.1, end=-1)", "leads away from the end"),
        ("risk-averse | clipped(0.5, 0.1)", "high must be a number from 0.5 to 1, got 0.1"),
        ("risk-averse | noise(0.1) | cached", r"cached stands behind noise\(0.1\)"),
        ("noise(0.1)", "'noise' changes what a user says: write USER"),
        ("risk-averse + risk-averse", "add up to 2, so that a score could leave"),
        ("0.7*risk-averse + 0.7*risk-averse | noise(1)", "add up to 1.4"),
        (".5*math:copysign-.5*math:floor", "a minus needs a space before it, at column 20 "),
        ("0.5 risk-averse", r"expected '\*' after a weight, got 'risk-averse', at column 5"),
        ("0.5*", "expected the name of a user, got the end, at column 5"),
        ("(risk-averse", r"expected '\)', got the end"),
        ("risk-averse)", r"expected '\+', '\|' or the end, got '\)', at column 12"),
        ("risk-averse risk-averse", "got 'risk-averse', at column 13"),
        ("risk-averse & x", "cannot read '& x', at column 13"),
        ("risk-averse(3)", "an option is written name=value, at column 13"),
        ("risk-averse(a=1, a=2)", "a is given twice, at column 18"),
        ("risk-averse(a-b=1)", "'a-b' is no name of an option"),
        ("math:x(a='it''s')", r"expected ',' or '\)', got"),
        ("risk-averse(a=)", "expected a value, got"),
        ("risk-averse(a=1e999)", "1e999 is too large"),
        ("http://x(url=3)", "an address is the url already"),
        ("(" * 60 + "risk-averse" + ")" * 60, "more than 50 brackets"),
    ],
)
def test_errors_point_to_the_place(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_expressions_check_what_they_are_made_of() -> None:
    with pytest.raises(UserError, match="must be a number or text, got None"):
        named("risk-averse", a=None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="must be a number or text, got nan"):
        named("risk-averse", a=float("nan"))
    with pytest.raises(UserError, match="the weight of 'risk-averse' must be a number, got inf"):
        float("inf") * A
    with pytest.raises(UserError, match="'my user' is no name of a user"):
        named("my user")
    with pytest.raises(UserError, match="'a-b' is no name of an option of risk-averse"):
        named("risk-averse", **{"a-b": 1})
    with pytest.raises(UserError, match="needs two users"):
        Sum(terms_given=((1.0, A),))
    for wrong in (lambda: A + 1, lambda: A - 1, lambda: A * "x", lambda: A | B, lambda: True * A):
        with pytest.raises(TypeError):
            wrong()


# -- round trip ------------------------------------------------------------------------------------

numbers = st.floats(0.0, 1.0)
names = st.sampled_from(["risk-averse", "math:copysign", "my_package.my_module:Thing.user"])
option_values = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
options = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True), option_values)
stages: st.SearchStrategy[Stage] = st.one_of(
    st.builds(Noise, scale=numbers),
    st.builds(Sparse, p=numbers),
    st.builds(Flip, p=numbers),
    st.builds(Delay, turns=st.integers(1, 9)),
    st.builds(Batched, size=st.integers(1, 99)),
    st.builds(Clipped, low=st.floats(-1.0, 0.0), high=numbers),
    st.builds(Drift, rate=numbers, start=numbers, end=st.none() | st.floats(1.0, 2.0)),
)


def sums(terms: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    """Sums whose weights add up to at most 1, of either sign."""

    def weigh(parts: list[tuple[float, Expression]]) -> Expression:
        size = sum(abs(weight) * term.largest for weight, term in parts) or 1.0
        scaled = [(weight / max(1.0, size), term) for weight, term in parts]
        one = len(scaled) == 1 and scaled[0][0] == 1.0
        return scaled[0][1] if one else Sum(terms_given=tuple(scaled))

    return st.lists(st.tuples(st.floats(-1.0, 1.0), terms), min_size=1, max_size=3).map(weigh)


leaves = st.one_of(
    st.builds(lambda name, own: Named(name=name, options=tuple(own.items())), names, options),
    st.just(Named(name="risk-averse") | Cached()),
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        sums(inner), st.builds(lambda user, stage: Piped(inner=user, stage=stage), inner, stages)
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(expressions)
def test_what_is_printed_is_read_as_the_same(expression: Expression) -> None:
    text = str(expression)
    assert parse(text) == expression
    assert str(parse(text)) == text


@settings(deadline=None)
@given(st.text(alphabet="risk-ave|+*()0.1noise,= \"':", max_size=30))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        expression = parse(text)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert parse(str(expression)) == expression


def test_stages_are_known_by_their_names() -> None:
    assert {name: stage.name for name, stage in users.STAGES.items()} == {
        name: name for name in users.STAGES
    }


def test_zero_has_no_sign() -> None:
    assert str(parse("risk-averse | clipped(-0.0, 0)")) == "risk-averse | clipped(0, 0)"
