"""An analysis on one screen: the answer, the kernel, the losses, and what else the verdict says."""

from ntkspec.experiments.analyze import Analysis
from ntkspec.experiments.headline import Headline, headline
from ntkspec.experiments.verdict import beside_headline
from ntkspec.objects.words import counted
from ntkspec.reporting.rows import interval, loss_title, rows, terms, wrapped

_MODELS = {"network": "network", "ntk": "its NTK at initialization, fixed", "linear": "linear model"}


def summary(analysis: Analysis) -> str:
    """What a command prints by default; :func:`ntkspec.reporting.analysis.report` is the whole."""
    found = headline(analysis)
    blocks = [
        [*wrapped(str(found)), *wrapped(found.meaning)],
        _setting(analysis),
        _kernel(analysis),
        _losses(analysis, found),
        [line for sentence in beside_headline(analysis) for line in wrapped(sentence, "- ")],
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _setting(analysis: Analysis) -> list[str]:
    names = ("eta1", "eta2") if len(analysis.rates) == 2 else ("eta",)
    rates = ", ".join(f"{name} = {rate:.4g}" for name, rate in zip(names, analysis.rates, strict=True))
    tests = len(analysis.labels.get("test", ()))
    by = f" of {analysis.recipe.told}" if analysis.recipe.told else ""
    points = counted(tests, "test point") if tests else "no test points"
    return wrapped(
        f"{analysis.dataset['name']}: n = {analysis.data.n}, d = {analysis.data.d}, {points}; "
        f"{analysis.task}; {analysis.task.trained}; {counted(analysis.steps[-1], 'step')}{by}, {rates}"
    )


def _kernel(analysis: Analysis) -> list[str]:
    kernel = analysis.kernel
    frobenius, whole = float(kernel.gap_frobenius), float(kernel.theta_lin_frobenius)
    relative = f"   = {frobenius / whole:.4g} of Theta^lin" if whole else ""
    nearest = analysis.nearest
    known = [("Theta^lin, the nearest linear one", terms(nearest))] if analysis.own and nearest else []
    return rows(
        [
            *known,
            ("||Theta|| at initialization", interval(kernel.theta)),
            ("||Theta^lin||", interval(kernel.theta_lin)),
            ("||Theta - Theta^lin||", interval(kernel.gap)),
            ("||Theta - Theta^lin||_F", f"{frobenius:.6g}{relative}"),
        ]
    )


def _losses(analysis: Analysis, found: Headline) -> list[str]:
    """At the start, at the step of the headline, and at the end."""
    steps, last = list(analysis.steps), len(analysis.steps) - 1
    until = last if found.agreement.until is None else steps.index(found.agreement.until)
    places = sorted({0, until, last})
    title = f"Loss {loss_title(analysis.recipe)}, {found.part} points"
    head = f"{title:<42}" + "".join(f"{f'step {steps[place]}':>12}" for place in places)
    values = {name: analysis.losses[name][found.part] for name in _MODELS}
    return [
        head,
        *(
            f"  {label:<40}" + "".join(f"{values[name][place]:>12.5g}" for place in places)
            for name, label in _MODELS.items()
        ),
    ]
