"""Final answers in texts, in a form in which equal answers are equal texts.

Each module has one way to find them: a pure function that returns None if there is no final answer.
Models write the texts, so each takes time linear in them, or looks at a bounded part.
"""
