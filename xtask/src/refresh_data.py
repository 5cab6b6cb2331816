"""Fetches the data sets of crates/enrich by the registries' own clients and writes what is used of them.

Called by `cargo xtask refresh-data`, with the folder to write to as the only argument.
"""

import ast
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile

BROWSERS = "ua-parser-builtins"
BOTS = "crawler-user-agents"


def only(folder, pattern):
    (found,) = pathlib.Path(folder).glob(pattern)
    return found


def write(path, head, lists):
    """One rule a line, so that a refresh can be read as a diff."""
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key, rules in lists.items():
        lines = ",\n".join(json.dumps(rule, ensure_ascii=False) for rule in rules)
        parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    print(f"{path}: {head['version']}, {', '.join(f'{len(rules)} {key}' for key, rules in lists.items())}")


def user_agents(target, scratch):
    """uap-core's rules; of the answers only the names, since versions and models are not kept."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, BROWSERS]
    subprocess.run(pip, check=True)
    wheel = only(scratch, "*.whl")
    with zipfile.ZipFile(wheel) as archive:
        source = archive.read("ua_parser_builtins/matchers.py").decode()
    rules = {"UserAgentMatcher": [], "OSMatcher": []}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in rules:
            assert not node.keywords, "the module's shape has changed"
            values = [ast.literal_eval(value) for value in node.args[:2]]
            rules[node.func.id].append((node.lineno, values + [None] * (2 - len(values))))
    ordered = {kind: [rule for _line, rule in sorted(found, key=lambda one: one[0])] for kind, found in rules.items()}
    assert len(ordered["UserAgentMatcher"]) > 300 and len(ordered["OSMatcher"]) > 100
    head = {
        "source": f"https://pypi.org/project/{BROWSERS}/, made from https://github.com/ua-parser/uap-core",
        "version": wheel.name.split("-")[1],
        "licence": "Apache-2.0",
    }
    lists = {"browsers": ordered["UserAgentMatcher"], "systems": ordered["OSMatcher"]}
    write(target / "user-agents.json", head, lists)


def bots(target, scratch):
    subprocess.run(["npm", "pack", "--silent", BOTS], cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(only(scratch, f"{BOTS}-*.tgz")) as archive:
        def read(name):
            return archive.extractfile(f"package/{name}").read().decode()

        version = json.loads(read("package.json"))["version"]
        rules = json.loads(read("crawler-user-agents.json"))
        (target / "crawler-user-agents.LICENSE").write_text(read("LICENSE"), encoding="utf-8")
    # JavaScript's escape of the slash is no escape elsewhere.
    patterns = [re.sub(r"\\/", "/", rule["pattern"]) for rule in rules]
    assert len(patterns) > 1000
    head = {"source": f"https://www.npmjs.com/package/{BOTS}", "version": version, "licence": "MIT"}
    write(target / "bots.json", head, {"patterns": patterns})


target = pathlib.Path(sys.argv[1])
with tempfile.TemporaryDirectory() as scratch:
    user_agents(target, scratch)
    bots(target, scratch)
