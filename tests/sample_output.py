"""Is the README's sample output that of its command? ``python tests/sample_output.py FILE``, where it was printed to.

Numbers may differ by 0.1 %, seconds and counts of products by a factor of 3: they depend on the machine.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
NUMBER = re.compile(r"(?<![\w^])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
OF_THE_MACHINE = re.compile(r"^  products with")
# Below this a number is rounding.
NOTHING = 1e-5


def sample() -> list[str]:
    """The lines that the README shows; a block without a language is output."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (block,) = [block for language, block in blocks if not language]
    return block.rstrip().splitlines()


def same(shown: str, printed: str) -> bool:
    """The same words, and the same numbers as far as machines agree."""
    if [*NUMBER.sub("0", shown).split()] != [*NUMBER.sub("0", printed).split()]:
        return False
    factor = 3.0 if OF_THE_MACHINE.match(shown) else 1.001
    pairs = zip(map(float, NUMBER.findall(shown)), map(float, NUMBER.findall(printed)), strict=True)
    return all(max(abs(a), abs(b)) < max(NOTHING, factor * min(abs(a), abs(b))) or a == b for a, b in pairs)


def absent(printed: list[str]) -> list[str]:
    """The lines of the sample that were not printed."""
    return [line for line in sample() if not any(same(line, one) for one in printed)]


if __name__ == "__main__":
    if lines := absent(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()):
        raise SystemExit("README.md shows what its first command did not print:\n" + "\n".join(lines))
    print(f"README.md: {len(sample())} lines of sample output are those of the command")
