"""A gate's outcome for whoever reads it; every form says the same sentences."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from xml.sax.saxutils import escape, quoteattr

from harness.gate.judge import ArmVerdict, Flip, Look
from harness.gate.run import Gated
from harness.reporting.html.parts import part, policy, template
from harness.sanitize import fence, for_markdown, for_terminal

FLIPS_SHOWN = 5
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_text(gated: Gated) -> str:
    """For a terminal: the verdict, a line per arm, what flipped, the diffs behind it."""
    lines = [f"gate {gated.verdicts.verdict}: {headline(gated)}"]
    for arm in gated.verdicts.arms:
        lines.append(f"  {arm.verdict:<12} {arm.name}: {arm.sentence}")
        lines += [f"    {look_line(look)}" for look in arm.looks]
        for flip in arm.flips[:FLIPS_SHOWN]:
            lines.append(f"    {flip_line(flip)}")
        if len(arm.flips) > FLIPS_SHOWN:
            lines.append(f"    ... and {len(arm.flips) - FLIPS_SHOWN} more")
    for diff in gated.diffs.values():
        lines += ["", diff.text]
    lines += [f"note: {note}" for note in gated.notes]
    return for_terminal("\n".join(lines))


def as_markdown(gated: Gated) -> str:
    """For a pull request's comment or a step's summary."""
    lines = [f"## Prompt gate: {gated.verdicts.verdict}", "", for_markdown(headline(gated)), ""]
    lines += ["| arm | verdict | |", "|---|---|---|"]
    lines += [
        f"| {for_markdown(arm.name)} | {arm.verdict} | {for_markdown(arm.sentence)} |"
        for arm in gated.verdicts.arms
    ]
    looked = [arm for arm in gated.verdicts.arms if arm.looks]
    for arm in looked:
        lines += ["", f"Looks at {for_markdown(arm.name)}:", ""]
        lines += [f"- {for_markdown(look_line(look))}" for look in arm.looks]
    for diff in gated.diffs.values():
        lines += ["", f"**{for_markdown(diff.path)}**", "", fence(diff.text, "diff")]
    flipped = [(arm, flip) for arm in gated.verdicts.arms for flip in arm.flips[:FLIPS_SHOWN]]
    if flipped:
        lines += ["", "| arm | item | was | is | because |", "|---|---|---|---|---|"]
        lines += [
            f"| {for_markdown(arm.name)} | {for_markdown(flip.item)} | "
            f"{for_markdown(flip.answer_before)} | {for_markdown(flip.answer_after)} | "
            f"{for_markdown(flip.reason)} |"
            for arm, flip in flipped
        ]
    lines += ["", *(f"- {for_markdown(note)}" for note in gated.notes)]
    return "\n".join(lines).rstrip() + "\n"


def as_json(gated: Gated) -> str:
    """Everything, for a program."""
    value = {
        "experiment": gated.experiment,
        "verdict": gated.verdicts.verdict,
        "sentence": headline(gated),
        "arms": [asdict(arm) for arm in gated.verdicts.arms],
        "templates": {name: asdict(diff) for name, diff in gated.diffs.items()},
        "notes": list(gated.notes),
        "generated": gated.generated,
    }
    return json.dumps(value, ensure_ascii=True, indent=1) + "\n"


def as_junit(gated: Gated) -> str:
    """JUnit XML: a test case per arm; regress and inconclusive are failures of that type."""
    cases = gated.verdicts.arms
    failures = sum(arm.verdict != "pass" for arm in cases)
    head = f'name={_quoted(gated.experiment)} tests="{len(cases)}" failures="{failures}"'
    body = "".join(map(_case, cases))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<testsuites><testsuite {head}>\n{body}</testsuite></testsuites>\n"
    )


def _case(arm: ArmVerdict) -> str:
    opened = f"<testcase classname={_quoted('gate')} name={_quoted(arm.name)}"
    if arm.verdict == "pass":
        return f"{opened}/>\n"
    flips = "\n".join(flip_line(flip) for flip in arm.flips)
    said = _xml(f"{arm.sentence}\n{flips}")
    return (
        f"{opened}><failure type={_quoted(arm.verdict)} message={_quoted(arm.sentence)}>"
        f"{escape(said)}</failure></testcase>\n"
    )


def as_github(gated: Gated) -> str:
    """Workflow commands: an annotation per failing arm, at the template's first changed line."""
    return "".join(f"{line}\n" for line in _annotations(gated))


def _annotations(gated: Gated) -> Iterator[str]:
    for arm in gated.verdicts.arms:
        if arm.verdict == "pass":
            continue
        diff = gated.diffs.get(arm.template)
        place = f" file={_property(diff.path)},line={diff.line}," if diff else " "
        level = "error" if arm.verdict == "regress" else "warning"
        flips = "\n".join(flip_line(flip) for flip in arm.flips[:FLIPS_SHOWN])
        message = f"{arm.name}: {arm.sentence}" + (f"\n{flips}" if flips else "")
        yield f"::{level}{place}title=prompt gate {arm.verdict}::{_data(message)}"
    yield f"::notice title=prompt gate::{_data(headline(gated))}"


def headline(gated: Gated) -> str:
    """The whole in one sentence."""
    arms = gated.verdicts.arms
    counts = {
        name: sum(arm.verdict == name for arm in arms) for name in ("regress", "inconclusive")
    }
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    asked = sum(arm.asked for arm in arms)
    said = f"{_counted(arms)}: " + (", ".join(parts) if parts else "all pass")
    return f"{said}; {asked} items asked again, {gated.generated} answers generated"


def _counted(arms: Sequence[ArmVerdict]) -> str:
    """``6 arms, 1 contrast, 1 template``: what was judged, by kind."""
    kinds = Counter(_kind(arm) for arm in arms)
    order = [kind for kind in ("arm", *_KINDS) if kinds[kind]]
    return ", ".join(f"{kinds[kind]} {kind}{'s' * (kinds[kind] != 1)}" for kind in order)


_KINDS = ("contrast", "template", "experiment")


def _kind(arm: ArmVerdict) -> str:
    kind = arm.name.partition(": ")[0]
    return kind if kind in _KINDS else "arm"


def look_line(look: Look) -> str:
    """``look at 63 of 312 items: the full run in [-14.1, +2.0] points: inconclusive, pass``."""
    return (
        f"look at {look.items} of {look.of} items: the full run in "
        f"[{100 * look.low:+.1f}, {100 * look.high:+.1f}] points: {', '.join(look.verdicts)}"
    )


def flip_line(flip: Flip) -> str:
    """``tiny-0004: pass to fail: 'CAT' became 'cat' (change_case: ...)``."""
    because = f" ({flip.reason})" if flip.reason else ""
    return (
        f"{flip.item}: {_outcome(flip.before)} to {_outcome(flip.after)}: "
        f"{flip.answer_before!r} became {flip.answer_after!r}{because}"
    )


def _outcome(score: float | None) -> str:
    if score is None:
        return "no answer"
    return {0.0: "fail", 1.0: "pass"}.get(float(score), f"{score:.2f}")


def _xml(text: str) -> str:
    """Without the characters that no XML document may hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", for_terminal(text))


def _quoted(text: str) -> str:
    return quoteattr(" ".join(_xml(text).split()))


def _data(text: str) -> str:
    """A workflow command's message: what ends the line is escaped, so nobody starts a command."""
    shown = for_terminal(text)
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_html(gated: Gated) -> str:
    """One self-contained page in the style of the reports, with every item that flipped."""
    style = part("page.css")
    return template("gate.html.jinja").render(
        name=gated.experiment,
        verdict=gated.verdicts.verdict,
        sentence=headline(gated),
        arms=gated.verdicts.arms,
        diffs=list(gated.diffs.values()),
        notes=gated.notes,
        outcome=_outcome,
        look_line=look_line,
        clean=for_terminal,
        style=style,
        policy=policy(style, ""),
    )


FORMATS: Mapping[str, Callable[[Gated], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "html": as_html,
    "json": as_json,
    "junit": as_junit,
    "github": as_github,
}
