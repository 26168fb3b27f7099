"""Whether the container clients of a node send their pulls here."""

from pathlib import Path

from proxy.clients.chains import Chain, Goes, ProxyCondition, Question, outcome
from proxy.clients.disk import read_node
from proxy.clients.kinds import chains
from proxy.doctor.steps import Step, Verdict

SUBJECT = "node"


def node_steps(root: Path, question: Question) -> list[Step]:
    """A step for each client that has files there and each registry. Reads files: blocks."""
    try:
        files = read_node(root)
    except OSError as cause:
        return [Step(SUBJECT, "clients", Verdict.FAILED, f"{root}: {cause.strerror}", "name the root of a node")]
    found = [_step(chain, question) for chain in chains(files, question)]
    return found or [Step(SUBJECT, "clients", Verdict.SKIPPED, f"no client has files below {root}")]


def _step(chain: Chain, question: Question) -> Step:
    name, up = f"{chain.client} {chain.registry}", outcome(chain, ProxyCondition.UP)
    if chain.troubles:
        trouble = chain.troubles[0]
        return Step(SUBJECT, name, Verdict.FAILED, f"{trouble.place}: {trouble.what}", trouble.fix)
    match up.goes:
        case Goes.PROXY:
            return Step(SUBJECT, name, Verdict.OK, f"{up.place} points here, {question.proxy}")
        case Goes.DIRECTLY:
            return Step(SUBJECT, name, Verdict.SKIPPED, f"{up.place}: it is pulled directly")
    fix = f"see `entrepot clients --help`: it writes what points to {question.proxy}"
    return Step(SUBJECT, name, Verdict.FAILED, f"{up.place}: it goes {up}, not to {question.proxy}", fix)
