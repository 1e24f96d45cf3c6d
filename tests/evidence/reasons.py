"""Reasons without the names and numbers of a case, and tables of them."""

import collections
import re

ADVICE = re.compile(r"; (?:docs/onnx\.md|control flow|this is dropout|export|make an|a network of one|simplify|only the first).*")


def kind(text):
    """A reason without its names, numbers and advice."""
    text = ADVICE.sub("", text.strip())
    text = re.sub(r"^(?:found )?no assignment (?:that )?fits.*", "no assignment fits the budget", text)
    text = re.sub(r", used by .*", "", text)
    text = re.sub(r" \(operator set \d+\)", "", text)
    text = re.sub(r"node `[^`]*` \((\w+) version \d+\)[^:]*: ", r"\1: ", text)
    text = re.sub(r"(?:input|output|initializer|node) `[^`]*`:? ?", "", text)
    text = re.sub(r"operator (\w+) (of domain \S+ )?is not supported", r"operator \1 \2is not supported", text)
    text = re.sub(r"`[^`]*`", "_", text)
    text = re.sub(r"[\[(<][^\])>]*[\])>]", "[..]", text)
    text = re.sub(r"(?<![A-Za-z\d.])-?\d[\d.e+-]*", "N", text)
    return text[:110]


def problems(message):
    """The problems that a message lists, one if it lists none."""
    listed = re.findall(r"^\s+- (.*)$", message, re.M)
    errors = re.findall(r"^error: (.*)$", message, re.M) or [message.strip().split("\n")[0] or "no message"]
    first = re.sub(r"^cannot \w+ \S+: ", "", errors[0])
    return listed or [re.sub(r"^the ONNX file cannot be imported: ", "", first)]


def by_reason(cases):
    """Names by reason, the most frequent first, of pairs of a name and its reasons; a case counts for each of its own once."""
    found = collections.defaultdict(list)
    for name, reasons in cases:
        for reason in dict.fromkeys(kind(reason) for reason in reasons):
            found[reason].append(name)
    return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))


def print_reasons(cases, most=8):
    """A line per reason: how many cases, how many have no other, and their names."""
    cases = [(name, list(reasons)) for name, reasons in cases]
    only = collections.Counter(
        kinds.pop() for _, reasons in cases if len(kinds := {kind(reason) for reason in reasons}) == 1
    )
    for reason, names in by_reason(cases):
        shown = " ".join(names if most is None else names[:most])
        more = f" and {len(names) - most} more" if most is not None and len(names) > most else ""
        print(f"  {len(names):4} ({only[reason]} have no other): {reason}\n        {shown}{more}")
