"""``entrepot config check`` on configurations whose lifecycle policy is bad."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from tests.core.bad_policies import BAD_POLICIES, Expected, read_bad_policy


def parts_of(fault: Expected) -> list[str]:
    """What its line must hold."""
    rule = [] if fault.rule == "-" else [f"rules[{fault.rule}]"]
    priority = [] if fault.priority == "-" else [f"(rulePriority {fault.priority})"]
    return [*rule, *priority, *([] if fault.field == "-" else [fault.field]), fault.reason]


@pytest.mark.parametrize("path", BAD_POLICIES, ids=lambda path: path.stem)
def test_a_bad_policy_is_refused_with_rule_field_and_reason(path: Path, tmp_path: Path) -> None:
    dialects, expected, text = read_bad_policy(path)
    (tmp_path / "policy.json").write_text(text)
    for dialect in dialects:
        config = tmp_path / "entrepot.yaml"
        entry = f"{{repositories: ['a/*'], policy_file: policy.json, extensions: {str(dialect == 'extended').lower()}}}"
        config.write_text(f"lifecycle:\n  - {entry}\n")
        done = CliRunner().invoke(app, ["config", "check", str(config)])
        lines = done.stderr.splitlines()
        assert (done.exit_code, len(lines)) == (2, len(expected)), done.output
        assert all(line.startswith(f"{config}:2: lifecycle[0].policy_file: ") for line in lines)
        for fault in expected:
            assert any(all(part in line for part in parts_of(fault)) for line in lines), fault
