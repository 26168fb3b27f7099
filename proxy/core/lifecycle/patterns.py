"""Which tags a rule identifies, as one predicate per rule. No pattern makes a tag be tried twice at the same place."""

from collections.abc import Callable, Sequence

from proxy.core.lifecycle.policy import Selection, TagStatus

TagTest = Callable[[str], bool]
TagsTest = Callable[[Sequence[str]], bool]


def identifies(selection: Selection) -> TagsTest:
    """Whether an image with these tags meets the tag criteria. Every entry of a list must be met by some tag, not
    necessarily the same (ECR: "only the images with all specified tags are selected").
    """
    if selection.tag_status is TagStatus.ANY:
        return lambda tags: True
    if selection.tag_status is TagStatus.UNTAGGED:
        return lambda tags: not tags
    return _each([*map(matches, selection.patterns), *map(_begins, selection.prefixes)])


def matches(pattern: str) -> TagTest:
    """``*`` is any run of characters, none included; case counts; without ``*`` the pattern is the tag."""
    first, *pieces = pattern.split("*")
    if not pieces:
        return lambda tag: tag == pattern
    *middle, last = pieces
    if not last and not any(middle):
        return _begins(first)
    return lambda tag: _fits(tag, first, middle, last)


def _begins(prefix: str) -> TagTest:
    return lambda tag: tag.startswith(prefix)


def _fits(tag: str, first: str, middle: Sequence[str], last: str) -> bool:
    """Taking the leftmost place for each piece leaves the most room for the next, so nothing is ever tried twice."""
    end = len(tag) - len(last)
    position = len(first)
    if position > end or not tag.startswith(first) or not tag.endswith(last):
        return False
    for piece in middle:
        found = tag.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def _each(tests: Sequence[TagTest]) -> TagsTest:
    if len(tests) == 1:
        [test] = tests
        return lambda tags: any(map(test, tags))
    return lambda tags: all(any(map(test, tags)) for test in tests)
