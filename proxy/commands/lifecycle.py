"""``entrepot lifecycle``: try policies on files, look at what they would do to the running cache, do it, import one."""

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, cast

import typer

from proxy.admin.client import AdminClient
from proxy.admin.messages import (
    APPLY,
    PREVIEW,
    Operation,
    Q,
    ReviewedImage,
    ReviewEnd,
    ReviewPortion,
    ReviewRequest,
    ReviewSummary,
)
from proxy.commands import shown
from proxy.commands.session import (
    FAILED,
    WRONG,
    AdminUrl,
    AsJson,
    ConfigFile,
    answered,
    load_or_stop,
    running_proxy,
    stop,
    working,
)
from proxy.config import FileRefused, Loaded
from proxy.core.errors import Fault
from proxy.core.foreign_json import SMALL, parse_json
from proxy.core.lifecycle import (
    Decision,
    ImagesInvalid,
    PolicyInvalid,
    by_repository,
    evaluate_all,
    images_from_json,
    policy_parser,
    preview_json,
)
from proxy.core.moments import parse_moment
from proxy.upstream.ecr_faults import AwsFault

app = typer.Typer(help="Lifecycle policies in Amazon ECR's JSON.", no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Option("--policy", "-p", help="File with the policy.", exists=True, dir_okay=False)]
OtherPolicy = Annotated[
    Path | None,
    typer.Option("--policy", "-p", help="Try this policy instead of the configuration's.", exists=True, dir_okay=False),
]
Extensions = Annotated[bool, typer.Option("--extensions", help="Allow what Entrepot adds to ECR's grammar.")]
Pattern = Annotated[str, typer.Option("--repository", "-r", help="Only these, a pattern over REGISTRY/REPOSITORY.")]


@app.command()
def evaluate(
    policy: PolicyFile,
    images: Annotated[Path, typer.Option("--images", "-i", help="JSON list of images.", exists=True, dir_okay=False)],
    now: Annotated[str | None, typer.Option(help="As if it were then: ISO 8601 with a zone, or epoch seconds.")] = None,
    extensions: Extensions = False,
    as_json: AsJson = False,
) -> None:
    """What a policy decides about a list of images. Needs no cache."""
    moment = time.time() if now is None else parse_moment(now)
    if moment is None:
        stop(WRONG, f"--now: {now} is neither ISO 8601 with a zone nor epoch seconds")
    try:
        parsed = policy_parser(extended=extensions)(_text(policy))
    except PolicyInvalid as invalid:
        stop(WRONG, "\n".join(f"{policy}: {fault}" for fault in invalid.faults))
    try:
        listed = images_from_json(_text(images))
    except ImagesInvalid as invalid:
        stop(WRONG, f"{images}: {invalid}")
    decided = [each for found in evaluate_all(parsed, by_repository(listed), moment) for each in found]
    if as_json:
        print(json.dumps(preview_json(decided, {image.repository for image in listed}), indent=2))
    else:
        _print_decisions(decided, len(listed))


@app.command()
def preview(
    config: ConfigFile = None,
    admin: AdminUrl = None,
    policy: OtherPolicy = None,
    repository: Pattern = "*",
    extensions: Extensions = False,
    as_json: AsJson = False,
) -> None:
    """What would go from the running cache now, by which rule, and how much that frees. Changes nothing."""
    text = _text(policy) if policy is not None else None
    request = ReviewRequest(policy=text, extensions=extensions, repository=repository)
    sink = _JsonReview() if as_json else _Review("would be freed")
    _follow(running_proxy(admin, config), PREVIEW, request, sink)


@app.command()
def apply(
    config: ConfigFile = None, admin: AdminUrl = None, repository: Pattern = "*", as_json: AsJson = False
) -> None:
    """Let go now what the configured policies say."""
    sink = _JsonReview() if as_json else _Review("freed")
    _follow(running_proxy(admin, config), APPLY, ReviewRequest(repository=repository), sink)


@app.command("import")
def import_(
    from_ecr: Annotated[str, typer.Option("--from-ecr", help="REGISTRY/REPOSITORY, or REPOSITORY where one is ECR.")],
    config: ConfigFile = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it here instead.")] = None,
) -> None:
    """The lifecycle policy that a repository has in ECR."""
    loaded = load_or_stop(config)
    try:
        text = asyncio.run(_from_ecr(loaded, from_ecr))
    except ValueError as wrong:
        stop(WRONG, f"--from-ecr: {wrong}")
    except (Fault, AwsFault) as fault:
        stop(FAILED, f"{from_ecr}: {fault}")
    if output is None:
        print(text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except FileExistsError:
        stop(WRONG, f"{output} exists already, and is left as it is: name another file")
    except OSError as cause:
        stop(FAILED, f"{output}: {cause.strerror or cause}")
    print(f"{output}: written; name it as a policy_file under lifecycle")


async def _from_ecr(loaded: Loaded, wanted: str) -> str:
    """Raises ValueError where no ECR upstream is meant, AwsFault, or FileRefused."""
    from proxy.registries import open_registries  # noqa: PLC0415 - brings the whole upstream floor

    async with open_registries(loaded.settings) as registries:
        try:
            return json.dumps(parse_json(await registries.lifecycle_policy(wanted), SMALL), indent=2)
        except FileRefused as refused:
            raise ValueError(str(refused)) from None


class _Review:
    """What a running operation says, printed as it comes."""

    def __init__(self, titled: str) -> None:
        self._freed = titled
        self._table = shown.RunningTable(shown.REVIEW_TITLES)

    def portion(self, portion: ReviewPortion) -> None:
        for image in portion.preview_results:
            self._table.add(shown.review_row(portion.repository_name, image))

    def end(self, summary: ReviewSummary) -> None:
        if not summary.policies:
            print("no lifecycle policies are configured: nothing goes but for space")
            return
        self._table.end()
        print(
            f"{summary.expired} of {summary.images} images in {summary.repositories} repositories, "
            f"{shown.size(summary.freed_bytes)} {self._freed}"
            + (f"; {summary.stays} stay, pinned or in use" if summary.stays else "")
        )


class _JsonReview:
    """The same as one JSON document, of which no more is held than a line."""

    def __init__(self) -> None:
        self._began = False

    def portion(self, portion: ReviewPortion) -> None:
        for image in portion.preview_results:
            named = {"repositoryName": portion.repository_name, **image.model_dump(by_alias=True, exclude_unset=True)}
            print(f"{self._before()}    {json.dumps(named)}", end="")

    def end(self, summary: ReviewSummary) -> None:
        opening = "\n  ],\n" if self._began else '{\n  "previewResults": [],\n'
        print(f'{opening}  "summary": {summary.model_dump_json(by_alias=True)}\n}}')

    def _before(self) -> str:
        if self._began:
            return ",\n"
        self._began = True
        return '{\n  "previewResults": [\n'


def _follow(
    proxy: AdminClient, operation: Operation[Q, ReviewPortion | ReviewEnd], request: Q, sink: _Review | _JsonReview
) -> None:
    with answered():
        lines = proxy.operate(operation, request)
        with working("looking at the images"):
            line = next(lines, None)
        while line is not None:
            if isinstance(line, ReviewEnd):
                sink.end(line.summary)
            else:
                sink.portion(line)
            line = next(lines, None)


def _print_decisions(decided: Iterable[Decision], total: int) -> None:
    table = shown.RunningTable(shown.REVIEW_TITLES)
    for decision in decided:
        [result] = cast(list[dict[str, object]], preview_json([decision])["previewResults"])
        image = ReviewedImage.model_validate({**result, "imageSizeInBytes": decision.image.size})
        table.add(shown.review_row(decision.image.repository or "-", image))
    table.end()
    print(f"{table.count} of {total} images")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        print(f"{path}: {cause}", file=sys.stderr)
        raise typer.Exit(WRONG) from None
