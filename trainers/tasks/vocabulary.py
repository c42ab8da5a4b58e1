"""Words that several tasks share, in groups by what they name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trainers.tasks.choosing import listed

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fruit": listed(
            """
            apple banana cherry grape lemon lime mango melon orange peach pear plum strawberry
            blueberry raspberry kiwi pineapple watermelon papaya apricot fig coconut blackberry
            cranberry grapefruit pomegranate nectarine date guava
            """
        ),
        "vegetable": listed(
            """
            carrot potato onion cabbage broccoli spinach lettuce celery cauliflower turnip radish
            beet asparagus kale leek garlic zucchini parsnip artichoke
            """
        ),
        "animal": listed(
            """
            dog cat horse cow sheep goat pig lion tiger bear wolf fox rabbit mouse elephant
            giraffe zebra monkey kangaroo deer camel donkey squirrel hippo rhinoceros leopard
            panda koala cheetah otter beaver hamster rat gorilla dolphin whale
            """
        ),
        "bird": listed(
            """
            eagle owl parrot penguin sparrow robin crow swan pigeon hawk ostrich peacock flamingo
            seagull falcon woodpecker pelican canary raven duck goose
            """
        ),
        "color": listed(
            """
            red blue green yellow purple black white brown pink gray violet turquoise magenta
            beige maroon indigo cyan teal lavender gold silver orange
            """
        ),
        "tool": listed(
            """
            hammer screwdriver saw wrench drill pliers shovel rake axe chisel ladder scissors
            spade knife file
            """
        ),
        "vehicle": listed(
            """
            car bus truck bicycle train airplane boat ship motorcycle helicopter tractor van taxi
            scooter tram subway ambulance
            """
        ),
        "instrument": listed(
            """
            piano guitar violin drum flute trumpet cello harp saxophone clarinet trombone tuba
            oboe banjo accordion organ viola harmonica
            """
        ),
        "sport": listed(
            """
            soccer tennis basketball baseball golf hockey swimming boxing rugby volleyball cricket
            football badminton skiing wrestling running cycling surfing gymnastics rowing archery
            fencing
            """
        ),
        "furniture": listed(
            """
            table chair bed sofa desk bookcase wardrobe stool bench couch dresser cupboard
            armchair shelf cabinet
            """
        ),
        "planet": listed("mercury venus earth mars jupiter saturn uranus neptune"),
        "shape": listed(
            """
            circle square triangle rectangle oval hexagon pentagon octagon diamond star cube
            sphere cone cylinder pyramid trapezoid rhombus
            """
        ),
        "body part": listed(
            """
            head arm leg hand foot nose ear eye mouth knee elbow shoulder finger toe neck back
            stomach chest ankle wrist chin hair heart
            """
        ),
        "piece of clothing": listed(
            """
            shirt hat coat sock shoe scarf glove jacket sweater dress skirt belt boot cap jeans
            pants tie shorts sandals mittens blouse suit socks shoes gloves boots
            """
        ),
    }
)
"""By the word for one of them."""

PLURALS: Mapping[str, str] = MappingProxyType(
    {"piece of clothing": "pieces of clothing", "furniture": "pieces of furniture"}
)

THINGS: tuple[str, ...] = listed(
    """
    house garden window river mountain summer winter morning school teacher family friend kitchen
    market bridge island forest desert ocean village castle letter number picture paper pencil
    button candle basket bottle blanket pillow mirror carpet ladder engine wheel pocket wallet
    hammer needle thread ribbon feather blossom branch meadow valley canyon harbor station ticket
    journey compass lantern thunder shadow sunrise weather season holiday birthday present puzzle
    marble rocket planet comet galaxy science history music dancer painter doctor nurse farmer
    baker driver pilot sailor soldier captain princess wizard dragon monster giant hero cheese
    butter pepper sugar honey noodle cookie muffin dinner lunch breakfast supper chocolate tomato
    pumpkin coffee water bread rice soup cake
    """
)
"""Everyday words, in no group of the above but for a few."""


def plural(group: str) -> str:
    """The word for several of a group."""
    return PLURALS.get(group, f"{group}s")
