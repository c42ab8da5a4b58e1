"""Rewards from a chat model that judges answers.

settings.py    the section `type: judge`
registry.py    the methods: how the judge is asked, and how verdicts become rewards
method.py      what a method is
pointwise.py, generative_scoring.py   the methods, one a file
prompt.py      the Jinja template of the question; `templates/` has ours
fence.py       the mark that no answer can write
case.py the state of one request: the conversation as text, the budget asking.py      a method's way
to the judge: budget, retry, cost reply.py       a judge's reply: its text after the thinking, and
the chances of its tokens backend.py     the RewardBackend
"""
