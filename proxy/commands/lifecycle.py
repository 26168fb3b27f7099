"""``entrepot lifecycle``: try policies on files, look at what they would do to the running cache, do it, import one."""

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from proxy.commands import shown
from proxy.commands.session import FAILED, WRONG, AsJson, ConfigFile, Event, load_or_stop, operate, stop, working
from proxy.config import FileRefused, Loaded
from proxy.core.errors import Fault
from proxy.core.lifecycle import (
    Decision,
    ImagesInvalid,
    PolicyInvalid,
    by_repository,
    evaluate_all,
    images_from_json,
    parse_extended_policy,
    parse_policy,
    preview_json,
)
from proxy.core.moments import parse_moment
from proxy.tasks.group import task_group
from proxy.tasks.jobs import Jobs
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
    parse = parse_extended_policy if extensions else parse_policy
    try:
        parsed = parse(_text(policy))
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
    policy: OtherPolicy = None,
    repository: Pattern = "*",
    extensions: Extensions = False,
    as_json: AsJson = False,
) -> None:
    """What would go from the running cache now, by which rule, and how much that frees. Changes nothing."""
    request: dict[str, Any] = {"repository": repository, "extensions": extensions}
    if policy is not None:
        request["policy"] = _text(policy)
    _carry_out(load_or_stop(config), "lifecycle/preview", request, as_json)


@app.command()
def apply(config: ConfigFile = None, repository: Pattern = "*", as_json: AsJson = False) -> None:
    """Let go now what the configured policies say."""
    _carry_out(load_or_stop(config), "lifecycle/apply", {"repository": repository}, as_json)


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
    from proxy.registries import Registries  # noqa: PLC0415 - brings the whole upstream floor

    async with task_group() as tasks:
        registries = Registries(loaded.settings, Jobs(tasks))
        try:
            return json.dumps(json.loads(await registries.lifecycle_policy(wanted)), indent=2)
        except FileRefused as refused:
            raise ValueError(str(refused)) from None
        finally:
            await registries.close()


def _carry_out(loaded: Loaded, name: str, request: dict[str, Any], as_json: bool) -> None:
    with working("looking at the images"):
        events = list(operate(loaded, name, request))
    summary: dict[str, Any] = events.pop()["summary"]
    results = [(event["repositoryName"], result) for event in events for result in event["previewResults"]]
    if as_json:
        named = [{"repositoryName": repository, **result} for repository, result in results]
        print(json.dumps({"previewResults": named, "summary": summary}, indent=2))
        return
    _say(summary, results, "would be freed" if name.endswith("preview") else "freed")


def _say(summary: dict[str, Any], results: list[tuple[str, dict[str, Any]]], freed: str) -> None:
    if not summary["policies"]:
        print("no lifecycle policies are configured: nothing goes but for space")
        return
    if results:
        shown.decisions(results)
    print(
        f"{summary['expired']} of {summary['images']} images in {summary['repositories']} repositories, "
        f"{shown.size(summary['freedBytes'])} {freed}"
        + (f"; {summary['stays']} stay, pinned or in use" if summary["stays"] else "")
    )


def _print_decisions(decided: Iterable[Decision], total: int) -> None:
    rows = []
    for decision in decided:
        [result] = cast(list[Event], preview_json([decision])["previewResults"])
        rows.append((decision.image.repository or "-", {**result, "imageSizeInBytes": decision.image.size}))
    if rows:
        shown.decisions(rows)
    print(f"{len(rows)} of {total} images")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        print(f"{path}: {cause}", file=sys.stderr)
        raise typer.Exit(WRONG) from None
