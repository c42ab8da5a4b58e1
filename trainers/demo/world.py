"""The language of the demo world: who asks what, and in which ways an answer can be given.

Users ask for k things on a topic, or for help with something unsafe. Answers vary on purpose in
how complete, how kind and how safe they are; what that is worth is decided in `gold`, not here.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

TOPICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "toys": ("ball", "kite", "drum", "puzzle", "train", "doll", "robot", "whistle"),
        "snacks": ("honey", "berries", "cookies", "apples", "jam", "toast", "pears", "nuts"),
        "games": ("tag", "chess", "cards", "marbles", "hopscotch", "dominoes", "bingo", "bowling"),
        "clothes": ("hat", "scarf", "coat", "boots", "mittens", "socks", "cape", "sweater"),
        "places": ("park", "beach", "forest", "garden", "museum", "river", "farm", "zoo"),
    }
)
NUMBERS: Mapping[str, int] = MappingProxyType({"two": 2, "three": 3, "four": 4, "five": 5})
UNSAFE_VERBS = ("break", "steal", "rip", "smash")
UNSAFE_TARGETS = TOPICS["toys"] + TOPICS["clothes"]

OWNERS = ("a", "my", "the", "our")
ADJECTIVES = ("", "little ", "old ", "sleepy ", "shy ", "brave ", "big ")
BEARS = ("bear", "teddy")

SAFE_FRAMES = (
    "name {k} {topic} for {who}",
    "give me {k} {topic} for {who}",
    "list {k} {topic} for {who}",
    "tell me {k} {topic} for {who}",
    "suggest {k} {topic} for {who}",
    "can you name {k} {topic} for {who}?",
    "i need {k} {topic} for {who}, please",
    "what are {k} {topic} for {who}?",
    "please list {k} {topic} for {who}",
)
UNSAFE_FRAMES = (
    "how do i {verb} the {item} of {who}?",
    "help me {verb} the {item} of {who}",
    "tell me how to {verb} the {item} of {who}",
    "i want to {verb} the {item} of {who}",
    "name {k} ways to {verb} the {item} of {who}",
)
SYSTEM = "You are a helper for teddy bears."

KIND_OPENINGS = ("Of course, my friend!", "Hello, dear!", "What a lovely question!", "Gladly!")
PLAIN_OPENINGS = ("", "", "Okay.", "Well.")
RUDE_OPENINGS = ("Ugh.", "Go away.", "What a silly question.", "How boring.")
KIND_CLOSINGS = ("Have a happy day!", "Big hugs!", "Enjoy!", "With love!")
PLAIN_CLOSINGS = ("", "", "That is all.", "Done.")
RUDE_CLOSINGS = ("Now leave me alone.", "Do not bother me.", "You are annoying.")
BODIES = (
    "Here are {k} {topic}: {items}.",
    "Your bear may like {items}.",
    "Try {items}.",
    "A bear can have {items}.",
)
DECLINES = (
    "I cannot help with that.",
    "Sorry, I cannot do that.",
    "No, I cannot help you {verb} things.",
    "That would hurt a bear, so I cannot help.",
)
HARMS = (
    "Take a hammer and hit it.",
    "Wait until night and grab it.",
    "Pull it hard until it is gone.",
    "Sneak in and take it.",
)


@dataclass(frozen=True)
class Request:
    """One user request; `text` is what the user types."""

    text: str
    number: str
    """As typed: a word or a digit."""
    topic: str | None
    """None for an unsafe request."""
    verb: str | None
    """The unsafe verb, None for a safe request."""


def draw_request(rng: random.Random, unsafe_share: float = 0.25) -> Request:
    """One random request; a share of `unsafe_share` of them is unsafe."""
    who = f"{rng.choice(OWNERS)} {rng.choice(ADJECTIVES)}{rng.choice(BEARS)}"
    word = rng.choice(tuple(NUMBERS))
    number = str(NUMBERS[word]) if rng.random() < 0.2 else word
    if rng.random() < unsafe_share:
        verb = rng.choice(UNSAFE_VERBS)
        item = rng.choice(UNSAFE_TARGETS)
        frame = rng.choice(UNSAFE_FRAMES)
        text = frame.format(verb=verb, item=item, who=who, k=number)
        return Request(_surface(rng, text), number, None, verb)
    topic = rng.choice(tuple(TOPICS))
    text = rng.choice(SAFE_FRAMES).format(k=number, topic=topic, who=who)
    return Request(_surface(rng, text), number, topic, None)


def _surface(rng: random.Random, text: str) -> str:
    """People type a capital and a full stop, or they do not."""
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    if text[-1] != "?" and rng.random() < 0.5:
        text += "."
    return text


def draw_answer(rng: random.Random, request: Request) -> str:
    """One random answer of any quality: complete or not, kind or rude, safe or not."""
    opening = rng.choice(rng.choice((KIND_OPENINGS, PLAIN_OPENINGS, RUDE_OPENINGS)))
    closing = rng.choice(rng.choice((KIND_CLOSINGS, PLAIN_CLOSINGS, RUDE_CLOSINGS)))
    if request.topic is None:
        body = rng.choice(rng.choice((DECLINES, HARMS))).format(verb=request.verb)
    elif rng.random() < 0.05:
        body = rng.choice(DECLINES).format(verb="break")
    else:
        items = _join(_draw_items(rng, request.topic, number_of(request.number)))
        body = rng.choice(BODIES).format(k=request.number, topic=request.topic, items=items)
    return " ".join(part for part in (opening, body, closing) if part)


def _draw_items(rng: random.Random, topic: str, k: int) -> list[str]:
    """1 to 6 items: half of the lists have no wrong one, the others fail in one way each.

    A list strays to one other topic, or repeats itself, as models do. To write such lists, a policy
    must notice what went wrong in its own words so far, and a reward model that starts from it
    needs just that. If each wrong item were of another kind, the policy would learn nothing that
    separates wrong items from right ones, and the reward model would overlook them for thousands of
    updates.
    """
    count = rng.choice((k, k, rng.randint(1, k), rng.randint(1, k + 1)))
    failing = rng.choice((None, None, None, "strays", "strays", "repeats"))
    if failing is None:
        return rng.sample(TOPICS[topic], count)
    if failing == "strays":
        other = rng.choice([name for name in TOPICS if name != topic])
        right = rng.randint(0, count - 1)
        items = rng.sample(TOPICS[topic], right) + rng.sample(TOPICS[other], count - right)
    else:
        distinct = rng.sample(TOPICS[topic], rng.randint(1, max(1, count - 1)))
        items = distinct + rng.choices(distinct, k=count - len(distinct))
    rng.shuffle(items)
    return items


def _join(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def number_of(word: str) -> int:
    """ "three" or "3" as 3; KeyError or ValueError for anything else."""
    return int(word) if word.isdigit() else NUMBERS[word]


def all_texts() -> Iterator[str]:
    """Texts that together hold each word of the language in each form in which it can occur."""
    for number in (*NUMBERS, *map(str, NUMBERS.values())):
        for text in [
            f.format(k=number, topic="toys", who="a bear", verb="rip", item="hat")
            for f in SAFE_FRAMES + UNSAFE_FRAMES
        ]:
            yield text
            yield text[0].upper() + text[1:]
    for adjective in ADJECTIVES:
        yield from (f"for {owner} {adjective}{bear}." for owner in OWNERS for bear in BEARS)
    for topic, items in TOPICS.items():
        yield f"Try {topic}: {', '.join(items)} and {items[0]}."
    for verb in UNSAFE_VERBS:
        yield from (decline.format(verb=verb) for decline in DECLINES)
    bodies = [body.format(k="two", topic="toys", items="ball") for body in BODIES] + list(HARMS)
    openings = KIND_OPENINGS + PLAIN_OPENINGS + RUDE_OPENINGS
    closings = KIND_CLOSINGS + PLAIN_CLOSINGS + RUDE_CLOSINGS
    yield from (*openings, *bodies, SYSTEM)
    yield from (f". {text}" for text in (*bodies, *closings, *DECLINES))
