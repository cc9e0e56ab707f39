import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_file_uses_words_that_the_style_guide_forbids() -> None:
    hook = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8").partition("id: vocabulary")[2]
    forbidden, excluded = re.findall(r"(?:entry|exclude): '(.+)'", hook)
    assert re.search(forbidden, "Two twins")
    names = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    found = []
    for name in names:
        if re.search(excluded, name) or b"\0" in (content := (ROOT / name).read_bytes()):
            continue
        lines = content.decode().splitlines()
        found += [f"{name}:{number}: {line}" for number, line in enumerate(lines, 1) if re.search(forbidden, line)]
    assert not found
