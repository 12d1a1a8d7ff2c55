"""Large drawings made small: each way to fold is a partition of the boxes, and each class becomes one box "x n".

Calls of one module and many equal things read by the same op are always one box. The rest is folded only where a
drawing has more boxes than it may, or would take `dot` too long, and in this order: what is computed in the same way
from the same; modules, the inner ones first, unless that leaves one box for all; what looks alike, with alike operands;
at last only what is near the results stays. How long `dot` takes is estimated by counting, so a drawing is the same on
every machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from .description import Arrow, Box, Description, Frame, Role, common

MANY: Final = 8  # equal boxes are one from here on, also where there is room
READABLE: Final = 60  # boxes that are wanted at most where alike is folded with alike
COST: Final = 3000  # units of `cost`: what `dot` lays out in about a second
_DIGITS: Final = re.compile(r"\d+")
_TO: Final = " \u2026 "
_NAMED: Final = 6  # parameters that a folded module names

Classes = Mapping[int, Hashable]  # of boxes by their keys; those without one stay
Text = Callable[[Hashable, Sequence[Box]], Box]  # a class and its members to the box that stands for them


def cost(whole: Description) -> int:
    """What laying out takes: boxes, texts on arrows, and for each arrow the ranks it passes."""
    keys = [box.key for box in whole.boxes]
    place = {key: k for k, key in enumerate(keys)}
    arrows = sorted((min(place[a.tail], place[a.head]), max(place[a.tail], place[a.head])) for a in whole.arrows)
    rank = [0] * len(keys)
    nearest: dict[int, int] = {}
    for first, second in arrows:
        if first != second:
            rank[second] = max(rank[second], rank[first] + 1)
    heads = {second for first, second in arrows if first != second}
    for first, second in arrows:
        if first not in heads:
            nearest[first] = min(nearest.get(first, rank[second] - 1), rank[second] - 1)
    for leaf, above in nearest.items():  # it stands just above the first box that reads it
        rank[leaf] = above
    passed = sum(rank[second] - rank[first] for first, second in arrows)
    return len(keys) + passed + sum(1 for arrow in whole.arrows if arrow.label)


def fits(whole: Description, limit: int) -> bool:
    """Whether a drawing may be drawn as it is."""
    return len(whole.boxes) <= limit and len(whole.arrows) <= 4 * limit and cost(whole) <= COST


def to_fit(whole: Description, limit: int) -> Description:
    """The drawing itself, or one of at most `limit` boxes that `dot` lays out quickly and that says what is folded."""
    if fits(whole, limit):
        return whole
    before = sum(box.count for box in whole.boxes)
    whole = siblings(calls(whole))
    if not fits(whole, limit):
        whole = _same(whole, 2)
    fitting: list[Description] = []
    for folds in ((), (_modules,), (_alike,), (_modules, _alike)):
        part = whole
        for fold in folds:
            part = fold(part, limit)
        if fits(part, limit):
            fitting.append(part)
            if _says_something(part):
                break
    if not fitting:
        return _nearest(part, limit, before)
    part = fitting[-1] if _says_something(fitting[-1]) and len(fitting[-1].boxes) <= READABLE else fitting[0]
    folded = [box for box in part.boxes if box.count > 1]
    inside = sum(box.count for box in folded)
    boxes = f"{len(folded)} box{'es' * (len(folded) != 1)}"
    return part.noting(f"folded: {inside:,} of {before:,} nodes are in {boxes}")


def _says_something(part: Description) -> bool:
    """Whether more than one box is left of what is computed: one for the whole model shows nothing of it."""
    return sum(box.role not in ("parameter", "input", "constant") for box in part.boxes) > 1


# ---- the ways to fold ----------------------------------------------------------------------------------------------


def calls(whole: Description) -> Description:
    """Each module that has weights and is called several times as one box, with an arrow to itself where a call reads
    what an earlier one made.
    """
    seen: dict[int, set[int]] = {}
    for box in whole.boxes:
        for frame in box.group:
            if frame.weighted:
                seen.setdefault(frame.owner, set()).add(frame.key)
    many = {owner for owner, keys in seen.items() if len(keys) > 1}
    if not many:
        return whole

    def first(box: Box) -> Frame | None:
        return next((frame for frame in box.group if frame.weighted and frame.owner in many), None)

    call = {box.key: found for box in whole.boxes if (found := first(box)) is not None}
    classes = _with_weights(whole, {key: frame.owner for key, frame in call.items()})

    def text(owner: Hashable, boxes: Sequence[Box]) -> Box:
        frame = next(found for box in boxes if (found := call.get(box.key)) is not None)
        times = len(seen[frame.owner])
        made = [box for box in boxes if box.key in call]
        group = made[-1].group
        depth = next(k for k, one in enumerate(group) if one.owner == frame.owner and one.weighted)
        each = sum(box.count for box in made) // times
        return _module_box(frame.label, times, f"{each} operations each", boxes, made[-1], group[:depth])

    return _merged(whole, classes, text, lambda a, b: "next call" if a in call and call[a].key != call[b].key else "")


def siblings(whole: Description) -> Description:
    """Equal boxes that are computed in the same way from the same, or are read by the same, as one: from MANY on, and
    from two on where only one "x n" reads them.
    """
    return _same(whole, MANY)


def modules(whole: Description, depth: int) -> Description:
    """Modules and loops at a depth as one box each."""
    level = max(depth, 1)
    home = {box.key: box.group[:level] for box in whole.boxes if len(box.group) >= level}
    if not home:
        return whole

    def text(group: Hashable, boxes: Sequence[Box]) -> Box:
        frames: tuple[Frame, ...] = group  # type: ignore[assignment]
        made = [box for box in boxes if box.role not in ("parameter", "input", "constant")] or list(boxes)
        count, weights = sum(box.count for box in boxes), _weights(boxes)
        leaves = sum(box.count for box in boxes if box.role in ("input", "constant", "state", "entry"))
        inside = (f"{count - weights - leaves} operations" + (f", {weights} parameters" if weights else ""),)
        shape, around = made[-1].shape, frames[:-1]
        return Box(made[-1].key, "folded", frames[-1].text, shape, "", inside, around, 1, count, weights)

    return _merged(whole, home, text, lambda a, b: "", least=1)


def _modules(whole: Description, limit: int) -> Description:
    """Modules folded from the inside out, and equal ones side by side as one, until there is room."""
    for depth in range(max((len(box.group) for box in whole.boxes), default=0), 0, -1):
        whole = _same(modules(whole, depth), 2)
        if fits(whole, limit):
            break
    return whole


def _same(whole: Description, many: int) -> Description:
    """As one box: what is computed in the same way from the same; what goes on so; leaves that are read alike."""
    readers: dict[int, list[int]] = {}
    operands: dict[int, list[int]] = {}
    for arrow in whole.arrows:
        if not arrow.back:
            readers.setdefault(arrow.tail, []).append(arrow.head)
            operands.setdefault(arrow.head, []).append(arrow.tail)
    looping = {key for arrow in whole.arrows if arrow.back and arrow.tail != arrow.head for key in arrow[:2]}
    looks = {box.key: _looks(box) for box in whole.boxes}
    number: dict[Hashable, int] = {}
    found: dict[int, int] = {}
    for box in whole.boxes:
        read = operands.get(box.key, [])
        sign: Hashable
        if box.key in looping or (box.role == "parameter" and many == MANY):
            sign = box.key
        elif (earlier := _goes_on(box.key, looks, operands, found)) is not None:
            found[box.key] = found[earlier]
            continue
        elif read or box.key not in readers:
            sign = (looks[box.key], tuple(found.get(tail, -1 - tail) for tail in read))  # some come later, in a loop
        else:
            sign = (looks[box.key], frozenset(_as_read(head, box.key, looks, operands) for head in readers[box.key]))
        found[box.key] = number.setdefault(sign, len(number))
    repeated = {box.key for box in whole.boxes if box.role == "folded" and box.times > 1}
    fed = {found[key] for key, heads in readers.items() if repeated.issuperset(heads)}
    return _several(whole, found, many, fed)


def _as_read(head: int, key: int, looks: Mapping[int, Hashable], operands: Mapping[int, Sequence[int]]) -> Hashable:
    """How a box reads a leaf: the box itself, if it reads many, else what it looks like and reads besides."""
    read = operands[head]
    return head if len(read) > 3 else (looks[head], tuple(other for other in read if other != key))


def _goes_on(
    key: int, looks: Mapping[int, Hashable], operands: Mapping[int, Sequence[int]], found: Mapping[int, int]
) -> int | None:
    """The operand that looks as a box does and reads what it reads besides: one more term of a sum."""
    read = operands.get(key, ())
    for tail in read if len(read) <= 3 else ():
        if looks[tail] == looks[key] and operands.get(tail) and tail in found:
            rest = sorted(found.get(other, -1 - other) for other in read if other != tail)
            before = sorted(found.get(other, -1 - other) for other in operands[tail])
            if any(before[:k] + before[k + 1 :] == rest for k in range(len(before))):
                return tail
    return None


def _alike(whole: Description, limit: int) -> Description:
    """What looks alike and reads what looks alike, up to so many steps back; the fewer steps, the fewer boxes."""
    operands: dict[int, set[int]] = {}
    for arrow in whole.arrows:
        operands.setdefault(arrow.head, set()).add(arrow.tail)
    rounds = [_numbered({box.key: _looks(box, roughly=True) for box in whole.boxes})]
    for _ in range(3):
        old = rounds[-1]
        rounds.append(
            _numbered(
                {key: (sign, frozenset(old[tail] for tail in operands.get(key, ()))) for key, sign in old.items()}
            )
        )
    folded = whole
    for classes in reversed(rounds):
        if len(set(classes.values())) <= limit or classes is rounds[0]:
            folded = _several(whole, classes, 2)
            if len(folded.boxes) <= READABLE and fits(folded, limit):
                break
    return _same(folded, 2)


def _nearest(whole: Description, limit: int, before: int) -> Description:
    """Only the boxes nearest to the results."""
    operands: dict[int, list[int]] = {}
    for arrow in whole.arrows:
        operands.setdefault(arrow.head, []).append(arrow.tail)
    order = list(dict.fromkeys(whole.results))
    seen = set(order)
    for key in order:
        for tail in operands.get(key, ()):
            if tail not in seen:
                seen.add(tail)
                order.append(tail)
    count = limit
    while True:
        kept = set(order[:count])
        boxes = tuple(box for box in whole.boxes if box.key in kept)
        arrows = tuple(arrow for arrow in whole.arrows if arrow.head in kept and arrow.tail in kept)
        part = replace(whole, boxes=boxes, arrows=arrows, results=tuple(key for key in whole.results if key in kept))
        if count <= 1 or fits(part, limit):
            left = before - sum(box.count for box in boxes)
            return part.noting(f"{left:,} of {before:,} nodes are left out")
        count //= 2


# ---- how they are made ---------------------------------------------------------------------------------------------


def _looks(box: Box, roughly: bool = False) -> Hashable:
    """What tells a box from others at a glance; of slices only that they are, `roughly` without any numbers."""
    title = "slice" if box.title.startswith("slice [") else box.title
    if roughly:
        where = tuple((_DIGITS.sub("#", frame.label), frame.kind) for frame in box.group)
        return _DIGITS.sub("#", title), box.operands, box.shape, box.role, where
    if box.role in ("input", "folded"):  # one of several that differ by their number
        title = _DIGITS.sub("#", title)
    return title, box.operands, box.shape, box.role, box.group


def _numbered(signs: Mapping[int, Hashable]) -> dict[int, int]:
    """Small numbers in the place of signs."""
    number: dict[Hashable, int] = {}
    return {key: number.setdefault(sign, len(number)) for key, sign in signs.items()}


def _several(
    whole: Description, classes: Mapping[int, Hashable], many: int, always: Collection[Hashable] = ()
) -> Description:
    """Classes of at least `many` boxes as one box, some `always`."""
    sizes = Counter(classes.values())
    chosen = {key: sign for key, sign in classes.items() if sizes[sign] >= many or (sign in always and sizes[sign] > 1)}
    return _merged(whole, chosen, _several_box, lambda a, b: "again") if chosen else whole


def _several_box(sign: Hashable, boxes: Sequence[Box]) -> Box:
    first, last = boxes[0], boxes[-1]
    count = sum(box.count for box in boxes)
    group = first.group
    for box in boxes:
        group = common(group, box.group)
    title = last.title
    if any(box.title != title for box in boxes):
        title = f"{first.title.partition(_TO)[0]}{_TO}{last.title.rpartition(_TO)[2]}"
        title = "slice" if last.title.startswith("slice") else title
    shape = last.shape if first.shape == last.shape else ""
    role: Role = "output" if any(box.role == "output" for box in boxes) else last.role
    details = tuple(dict.fromkeys(detail for box in boxes for detail in box.details))
    details = details if len(details) <= _NAMED else ()
    times = sum(box.times for box in boxes)
    return Box(last.key, role, title, shape, last.operands, details, group, times, count, _weights(boxes))


def _module_box(title: str, times: int, inside: str, boxes: Sequence[Box], last: Box, group: tuple[Frame, ...]) -> Box:
    """The box of a module with the names of its weights."""
    inner = [box for box in boxes if box.role == "parameter"]
    names = [f"{box.title.rpartition('.')[2]} {box.shape.rpartition(' ')[0]}" for box in inner]
    named = names if len(names) <= _NAMED else [*names[:_NAMED], f"and {len(names) - _NAMED} more"]
    count = sum(box.count for box in boxes)
    return Box(last.key, "folded", title, last.shape, "", (inside, *named), group, times, count, _weights(boxes))


def _weights(boxes: Sequence[Box]) -> int:
    """The parameters in boxes."""
    return sum(box.count if box.role == "parameter" else box.weights for box in boxes)


def _with_weights(whole: Description, classes: Classes) -> Classes:
    """The classes, with the parameters and constants that nobody else reads."""
    readers: dict[int, set[Hashable]] = {}
    for arrow in whole.arrows:
        readers.setdefault(arrow.tail, set()).add(classes.get(arrow.head, ("box", arrow.head)))
    joined, known = dict(classes), set(classes.values())
    for box in whole.boxes:
        own = readers.get(box.key, set())
        if box.key not in classes and box.role in ("parameter", "constant") and len(own) == 1:
            (sign,) = own
            if sign in known:
                joined[box.key] = sign
    return joined


def _merged(
    whole: Description, classes: Classes, text: Text, again: Callable[[int, int], str], least: int = 2
) -> Description:
    """Each class of at least so many boxes as one, in the place of its last member; an arrow within a class stays if
    `again` has a text for it.
    """
    members: dict[Hashable, list[Box]] = {}
    for box in whole.boxes:
        if box.key in classes:
            members.setdefault(classes[box.key], []).append(box)
    made = {sign: text(sign, boxes) if len(boxes) >= least else boxes[0] for sign, boxes in members.items()}
    stands = {box.key: made[sign].key for sign, boxes in members.items() for box in boxes}
    by_key = {box.key: box for box in made.values()}
    boxes = tuple(by_key.get(box.key, box) for box in whole.boxes if stands.get(box.key, box.key) == box.key)
    arrows: dict[Arrow, None] = {}
    for arrow in whole.arrows:
        tail, head = stands.get(arrow.tail, arrow.tail), stands.get(arrow.head, arrow.head)
        if tail != head or arrow.tail == arrow.head:
            arrows[Arrow(tail, head, arrow.label, arrow.back)] = None
        elif label := again(arrow.tail, arrow.head):
            arrows[Arrow(tail, head, label, back=True)] = None
    results = tuple(dict.fromkeys(stands.get(key, key) for key in whole.results))
    return replace(whole, boxes=boxes, arrows=tuple(arrows), results=results)
