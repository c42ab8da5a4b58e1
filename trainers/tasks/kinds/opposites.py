"""Opposites. Words that answers are wrapped in ("right", "answer", "no") are left out: said in
passing, they would pass for the answer."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.tasks.problem import Problem, PromptTask
from trainers.tasks.short import WordAnswer

PAIRS = """
hot cold|big small,little|large small,little|up down|day night|black white|happy sad,unhappy
fast slow|quick slow|high low|young old|new old|long short|tall short|good bad,evil
open closed,close,shut|light dark,heavy|early late|easy hard,difficult|strong weak|rich poor
full empty|wet dry|clean dirty|loud quiet,silent,soft|hard soft,easy|thick thin|wide narrow
deep shallow|near far|inside outside|above below,beneath|over under|on off|true false|first last
begin end,finish|start stop,end,finish|win lose|buy sell|give take,receive|push pull|come go
love hate|laugh cry|live die|sit stand|arrive leave,depart|enter exit,leave|remember forget
find lose|build destroy,demolish|accept reject,refuse,decline|agree disagree
allow forbid,prohibit,disallow,deny|attack defend|borrow lend|break fix,repair,mend|bring take
catch throw,release,miss|create destroy|increase decrease,reduce|rise fall|float sink
expand contract,shrink|lock unlock|fill empty|freeze melt,thaw|gather scatter,disperse
gain lose,loss|heat cool|join leave,separate|land takeoff|lead follow|learn teach,forget
save spend,waste|send receive|show hide|sleep wake|speak listen|succeed fail|success failure
victory defeat|war peace|friend enemy,foe|brother sister|father mother|son daughter|uncle aunt
king queen|boy girl|man woman|husband wife|nephew niece|prince princess|hero villain,coward
teacher student,pupil|doctor patient|buyer seller|beginning end,ending|birth death|heaven hell
north south|east west|morning evening|summer winter|spring autumn,fall|sunrise sunset|dawn dusk
past future|front back|top bottom|floor ceiling|entrance exit|strength weakness
truth lie,falsehood|beauty ugliness|courage fear,cowardice|joy sorrow,sadness|hope despair
wisdom foolishness,folly|wealth poverty|noise silence|light darkness,dark|beautiful ugly
brave cowardly,afraid,scared|bright dim,dull,dark|calm agitated,stormy,angry,nervous
careful careless|cheap expensive,costly|clever stupid,foolish,dumb|common rare,uncommon|cruel kind
curved straight|dangerous safe|dead alive,living|different same,similar|eager reluctant
even odd,uneven|famous unknown,obscure|fat thin,slim|foreign domestic,native|fresh stale,rotten
generous stingy,selfish,greedy,mean|gentle rough,harsh|guilty innocent|healthy sick,unhealthy,ill
heavy light|honest dishonest|humble proud,arrogant|important unimportant,trivial
interesting boring|lazy hardworking,active,diligent,energetic|legal illegal|lucky unlucky
major minor|married single,unmarried|maximum minimum|modern ancient,old|more less,fewer|most least
noisy quiet|patient impatient|permanent temporary|plural singular|polite rude,impolite
popular unpopular|positive negative|possible impossible|powerful weak,powerless|present absent
private public|proud humble,ashamed|public private|raw cooked|real fake,imaginary,unreal
rough smooth|sharp blunt,dull|sick healthy,well|simple complex,complicated|smooth rough|sour sweet
sweet sour,bitter|tame wild|tight loose|together apart|tiny huge,enormous,giant
ugly beautiful,pretty|upper lower|useful useless|vertical horizontal|visible invisible
warm cool,cold|wild tame|wise foolish|always never|before after|forward backward
often rarely,seldom|everything nothing|everybody nobody|asleep awake|ancient modern,new
artificial natural|bitter sweet|blunt sharp|conscious unconscious|crooked straight|female male
fiction fact,nonfiction|flexible rigid,stiff|friendly unfriendly,hostile|hollow solid
junior senior|knowledge ignorance|include exclude|import export|inhale exhale|interior exterior
internal external|liquid solid|mature immature|narrow wide,broad|noble ignoble|optimist pessimist
ordinary extraordinary,special,unusual|passive active|perfect imperfect,flawed|profit loss
qualified unqualified|regular irregular|relaxed tense,stressed|reward punishment
satisfied dissatisfied|similar different,dissimilar|sober drunk|superior inferior
sunny cloudy,rainy|transparent opaque|victim attacker,perpetrator
voluntary compulsory,involuntary,mandatory|attractive unattractive,ugly
"""
FORMS = (
    'What is the opposite of "{word}"?',
    'Name one word that means the opposite of "{word}".',
    'Complete with one word: the opposite of "{word}" is',
)


def opposites() -> dict[str, list[str]]:
    """The accepted opposites of each word, in both directions."""
    found: dict[str, list[str]] = {}
    for entry in PAIRS.replace("\n", "|").split("|"):
        if entry:
            word, _, listed = entry.partition(" ")
            first, *others = listed.split(",")
            found.setdefault(word, []).extend(one for one in (first, *others))
            found.setdefault(first, []).append(word)
    return {word: list(dict.fromkeys(known)) for word, known in found.items()}


def clusters() -> dict[str, str]:
    """The fact of each word. Words that are linked by opposites are one fact: who knows that hot is
    the opposite of cold knows that cold is the opposite of hot."""
    names = {word: word for word in opposites()}
    for word, known in opposites().items():
        for other in known:
            if other in names:
                old, new = sorted((names[word], names[other]), reverse=True)
                names = {key: new if name == old else name for key, name in names.items()}
    return names


class Opposites(PromptTask):
    name = "opposites"

    def problems(self) -> Iterator[Problem]:
        known, facts = opposites(), clusters()
        every = tuple(sorted({word for right in known.values() for word in right} | set(known)))
        for word, right in known.items():
            for form in FORMS:
                prompt = form.format(word=word)
                check = WordAnswer(tuple(right), prompt, rivals=every)
                yield Problem(prompt, facts[word], check, right[0])
