"""Rules as small C functions, which the compiled engine calls by their address.

Those of the same content are made once: a rule may find another number by name by now.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from itertools import chain
from typing import Any, ParamSpec

from numba import types

from continual_arcade.agents.kernels.functions import (
    CFunction,
    RuleError,
    c_function,
    cached,
    content,
    of_double_precision,
    of_single_precision,
)
from continual_arcade.agents.kernels.random import HAS_NORMALS, fill_normals
from continual_arcade.agents.methods.rules import (
    GIVEN,
    OF_TENSOR,
    Count,
    KeptGradient,
    Mixture,
    Normals,
    Slope,
    Step,
    TensorRule,
    Total,
    declared,
)

Group = tuple[Step, ...] | Slope | KeptGradient | Mixture | TensorRule | Normals
"""What is compiled, or run, as one: arithmetic that belongs together, or a step by itself."""


PIECE = 128
"""Parameters that are passed over at once where a rule is for none of them."""


def groups(steps: Sequence[Step]) -> Iterator[Group]:
    """Yield the steps of a hook as they are compiled: arithmetic that belongs together, or one."""
    together: list[Step] = []
    for step in steps:
        if not isinstance(step, Slope | KeptGradient | Mixture | TensorRule | Normals):
            together.append(step)
            continue
        if together:
            yield tuple(together)
            together = []
        yield step
    if together:
        yield tuple(together)


@cached
def numbers_read(kind: type) -> frozenset[str]:
    """Return which numbers of a part anything compiled reads, but for those that it is given."""
    what = declared(kind)
    steps = [step for of_hook in what.steps.values() for step in of_hook]
    names = {name for step in steps for name in (*step.reads, step.when, step.writes)}
    names |= {step.since for step in steps if isinstance(step, Slope)}
    names |= {*what.written, *getattr(getattr(kind, "arrange", None), "numbers", ())}
    return frozenset(names & set(what.numbers) - set(GIVEN))


Given = ParamSpec("Given")


def cached_while_alike(
    rules_of: Callable[Given, Iterable[Callable[..., Any]]],
) -> Callable[[Callable[Given, CFunction]], Callable[Given, CFunction]]:
    """Cache what is made of rules, for as long as they compute the same.

    Args:
        rules_of: Says of what is given which rules it is made of.
    """

    def decorate(make: Callable[Given, CFunction]) -> Callable[Given, CFunction]:
        made: dict[tuple[Any, ...], CFunction] = {}

        @wraps(make)
        def found(*given: Given.args, **named: Given.kwargs) -> CFunction:
            rules = rules_of(*given, **named)
            key = (*given, *named.items(), *(line for rule in rules for line in content(rule)))
            if key not in made:
                made[key] = make(*given, **named)
            return made[key]

        return found

    return decorate


def _of_step(kind: type, step: Any) -> list[Callable[..., Any]]:
    return [step.function]


@cached_while_alike(_of_step)
def slope_function(kind: type, step: Slope) -> CFunction:
    """Compile a slope over the rows of a batch.

    Its record: rows, actions, and addresses of ``now``, ``old``, the slopes to be filled, and the
    numbers. A row whose old value is NaN gets no slope.
    """
    function = of_double_precision(step.function)
    row = types.Array(types.float32, 1, "C")
    types_of = {"now": row, "old": row, "slope": row}
    what = f"slope {step.function.__name__!r} of part {getattr(kind, 'name', kind.__name__)!r}"
    suspect = (function, tuple(types_of.get(n, types.float64) for n in step.reads), what)
    names = declared(kind).numbers
    given = {name: f"numbers[{i}]" for i, name in enumerate(names)}
    given |= {"now": "now[row]", "old": "old[row]", "slope": "slope[row]"}
    text = f"""
def run(record):
    words = words_at(record, 6)
    rows, actions = words[0], words[1]
    now = floats_at(words[2], rows * actions).reshape(rows, actions)
    old = floats_at(words[3], rows * actions).reshape(rows, actions)
    slope = floats_at(words[4], rows * actions).reshape(rows, actions)
    numbers = doubles_at(words[5], {len(names)})
    for row in range(rows):
        if old[row, 0] != old[row, 0]:
            for action in range(actions):
                slope[row, action] = 0.0
        else:
            rule({", ".join(given[name] for name in step.reads)})
"""
    return c_function(text, {"rule": function}, step.function, [suspect])


@cached_while_alike(_of_step)
def mixture_function(kind: type, step: Mixture) -> CFunction:
    """Compile what chooses the weights of a mixture, and writes a number.

    Its record is that of :mod:`continual_arcade.agents.kernels.mixture`.
    """
    function = of_double_precision(step.function)
    line = types.Array(types.float64, 1, "C")
    types_of = {"gram": types.Array(types.float64, 2, "C"), "products": line, "weights": line}
    what = f"mixture {step.function.__name__!r} of part {getattr(kind, 'name', kind.__name__)!r}"
    suspect = (function, tuple(types_of.get(n, types.float64) for n in step.reads), what)
    names = declared(kind).numbers
    given = {name: f"numbers[{i}]" for i, name in enumerate(names)}
    given |= {name: name for name in types_of}
    text = f"""
def run(record):
    words = words_at(record, 5)
    rows = words[0]
    gram = doubles_at(words[1], rows * rows).reshape(rows, rows)
    products, weights = doubles_at(words[2], rows), doubles_at(words[3], rows)
    numbers = doubles_at(words[4], {len(names)})
    for row in range(rows):
        weights[row] = 0.0
    numbers[{names.index(step.writes)}] = rule({", ".join(given[name] for name in step.reads)})
"""
    return c_function(text, {"rule": function}, step.function, [suspect])


@cached
def normals_function(step: Normals) -> CFunction:
    """Compile what draws normal numbers; its record: how many, the generator, and where they go.

    Raises:
        RuleError: If NumPy does not show what draws them.
    """
    if not HAS_NORMALS:
        raise RuleError("normal numbers are drawn by a function that this NumPy does not show")
    text = """
def run(record):
    words = words_at(record, 3)
    fill_normals(words[1], words[0], words[2])
"""
    return c_function(text, {"fill_normals": fill_normals}, step.function, [])


@cached_while_alike(_of_step)
def tensor_function(kind: type, step: TensorRule) -> CFunction:
    """Compile a rule over one tensor.

    Its record: rows, columns, role; addresses of the numbers, of ``theta`` and of ``gradient``; and
    of the part's vectors, in order, 0 for those that are empty or not read.
    """
    function, what = of_double_precision(step.function), declared(kind)
    grid = types.Array(types.float32, 2, "C")
    place = {name: 4 + i for i, name in enumerate(("theta", "gradient", *what.vectors))}
    types_of = {**dict.fromkeys(place, grid), OF_TENSOR: types.int64}
    title = f"rule {step.function.__name__!r} of part {getattr(kind, 'name', kind.__name__)!r}"
    suspect = (function, tuple(types_of.get(n, types.float64) for n in step.reads), title)
    given = {name: f"numbers[{i}]" for i, name in enumerate(what.numbers)}
    given |= {
        name: f"floats_at(words[{at}], rows * columns).reshape(rows, columns)"
        for name, at in place.items()
    }
    needed = [f"words[{place[name]}] != 0" for name in step.reads if name in place]
    given[OF_TENSOR] = "words[2]"
    text = f"""
def run(record):
    words = words_at(record, {4 + len(place)})
    rows, columns = words[0], words[1]
    numbers = doubles_at(words[3], {len(what.numbers)})
    if {" and ".join(needed) or "True"}:
        numbers[{what.numbers.index(step.writes)}] = rule({", ".join(given[n] for n in step.reads)})
"""
    return c_function(text, {"rule": function}, step.function, [suspect])


@cached_while_alike(lambda kind, steps: [step.function for step in steps])
def hook_function(kind: type, steps: tuple[Step, ...]) -> CFunction:
    """Compile what a part does to its vectors and numbers in a hook.

    Its record: how many parameters; addresses of the numbers, of ``theta`` and of ``gradient``; of
    the part's vectors, in order, 0 for those that are empty; and of its rows. Vectors of which each
    game has one lie one after the other. Then, for each vector of :func:`looked_at`, the first and
    the end of where anything in it is not 0.
    """
    what = declared(kind)
    # Names of fields never become names of this text: one may be called as something in it.
    names = {"theta": "theta", "gradient": "gradient"}
    names |= {name: f"vector_{i}" for i, name in enumerate(what.vectors)}
    place = {name: i for i, name in enumerate(what.numbers)}
    bounds = 4 + len(what.vectors) + len(what.rows)
    lines = [
        "def run(record):",
        f"    words = words_at(record, {bounds + 2 * len(looked_at(kind))})",
        "    count = words[0]",
        f"    numbers = doubles_at(words[1], {len(place)})",
        "    theta, gradient = floats_at(words[2], count), floats_at(words[3], count)",
    ]
    word = {name: f"words[{4 + i}]" for i, name in enumerate(what.vectors)}
    game = f" + 4 * count * int(numbers[{place['game']}])"
    lines += [
        f"    {names[name]} = floats_at({at}{game if what.vectors[name].per_game else ''}, count)"
        for name, at in word.items()
    ]
    of_rows = {name: f"row_{i}" for i, name in enumerate(what.rows)}
    lines += [
        f"    row_{i} = doubles_at(words[{4 + len(word) + i}], {state.length})"
        for i, state in enumerate(what.rows.values())
    ]
    rules: dict[str, Any] = {}
    suspects: list[tuple[Any, tuple[Any, ...], str]] = []
    for i, step in enumerate(steps):
        is_count = isinstance(step, Count)
        function = (of_double_precision if is_count else of_single_precision)(step.function)
        title = f"rule {step.function.__name__!r} of part {getattr(kind, 'name', kind.__name__)!r}"
        one = types.float64 if is_count else types.float32
        given_types = tuple(
            types.Array(types.float64, 1, "C") if name in of_rows else one for name in step.reads
        )
        suspects.append((function, given_types, title))
        rules[f"rule_{i}"] = function
        needed = [name for name in (*step.reads, step.writes, step.where) if name in word]
        tests = [f"{word[name]} != 0" for name in dict.fromkeys(needed)]
        if step.when:
            tests.append(f"numbers[{place[step.when]}] != 0.0")
        lines.append(f"    if {' and '.join(tests) or 'True'}:")
        given = []
        for name in step.reads:
            if name in names:
                given.append(f"{names[name]}[i]")
            elif name in of_rows:
                given.append(of_rows[name])
            elif is_count:
                given.append(f"numbers[{place[name]}]")
            else:
                lines.append(f"        number_{place[name]} = single(numbers[{place[name]}])")
                given.append(f"number_{place[name]}")
        call = f"rule_{i}({', '.join(given)})"
        if is_count:
            lines.append(f"        numbers[{place[step.writes]}] = {call}")
        elif isinstance(step, Total):
            lines += [
                "        summed = 0.0",
                "        for i in range(count):",
                f"            summed += {call}",
                f"        numbers[{place[step.writes]}] = summed",
            ]
        else:
            adds = step.hook == "add_gradient" and step.writes == "gradient"
            written = f"{names[step.writes]}[i]"
            value = f"{written} + {call}" if adds else call
            if step.where:
                used = (*step.reads, step.writes, step.where)
                arrays = dict.fromkeys(names[name] for name in used if name in names)
                where = f"{names[step.where]}[i]"
                from_ = bounds + 2 * looked_at(kind).index(step.where)
                lines += [f"        begin, stop = words[{from_}], words[{from_ + 1}]"]
                lines += _in_pieces(arrays, where, written, value)
            else:
                lines += ["        for i in range(count):", f"            {written} = {value}"]
    return c_function("\n".join(lines) + "\n", rules, steps[0].function, suspects)


def looked_at(kind: type) -> tuple[str, ...]:
    """Return the vectors that say where a rule of a part is to be done."""
    steps = chain.from_iterable(declared(kind).steps.values())
    return tuple(dict.fromkeys(step.where for step in steps if step.where))


def rests(kind: type, vector: str) -> bool:
    """Return whether one of a part's vectors is the same from one gradient step to the next."""
    steps = chain.from_iterable(declared(kind).steps.values())
    per_game = declared(kind).vectors[vector].per_game
    return not per_game and not any(step.may_change(vector) for step in steps)


def _in_pieces(arrays: Iterable[str], where: str, written: str, value: str) -> list[str]:
    """Write what is done where a vector is not 0, which is nowhere in most pieces of it.

    It is computed for whole pieces, and put where it is wanted, so that it becomes vector code; and
    arrays are cut into pieces first: a number that may count from their end would not.
    """
    return [
        f"        for first in range(begin, stop, {PIECE}):",
        f"            end = min(first + {PIECE}, stop)",
        *(f"            {array}_here = {array}[first:end]" for array in arrays),
        "            wanted = single(0.0)",
        "            for i in range(end - first):",
        f"                wanted += abs({_here(where, arrays)})",
        "            if wanted != 0.0:",
        "                for i in range(end - first):",
        f"                    value = {_here(value, arrays)}",
        f"                    kept = {_here(written, arrays)}",
        f"                    is_wanted = {_here(where, arrays)} != 0.0",
        f"                    {_here(written, arrays)} = value if is_wanted else kept",
    ]


def _here(text: str, arrays: Iterable[str]) -> str:
    """Let a text name the pieces of arrays in place of these."""
    for array in arrays:
        text = text.replace(f"{array}[i]", f"{array}_here[i]")
    return text
