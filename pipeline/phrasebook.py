"""Mutation prompts and thinking styles to start from (PromptBreeder 3.1 has 56 and 39 of its own; these are ours)."""

from __future__ import annotations

MUTATION_PROMPTS: tuple[str, ...] = (
    "Rewrite the instruction so that a hurried reader cannot misunderstand it.",
    "Say the same thing, but add one rule about the form of the answer.",
    "Keep what works and add a rule that prevents the most common mistake.",
    "Make the instruction more specific: say what must be kept and what must be left out.",
    "Shorten the instruction to its essential rules.",
    "Turn the instruction into a list of three to five clear steps.",
    "Tell the reader exactly what the answer must look like and that nothing else may be written.",
    "Add a limit: how long the answer may be, in words or characters.",
    "Replace vague words by words that can be checked.",
    "Explain which part of the input matters most and how to use it.",
    "Change the order of the rules so that the most important one comes first.",
    "Add what to do when the input is unclear or very short.",
    "Write the instruction as an experienced colleague would give it to a newcomer.",
    "State what a wrong answer looks like and forbid it.",
    "Combine two of the rules into one that is easier to follow.",
    "Give the instruction a tone of precision: no filler, every sentence a rule.",
)

THINKING_STYLES: tuple[str, ...] = (
    "Think step by step about what could go wrong.",
    "Look at the form of a good answer first, then at its content.",
    "Ask what the person who gets the answer wants to do with it.",
    "Think of the shortest rule that would have prevented the mistakes.",
    "Compare a good answer with a bad one and name the difference.",
    "Think like an editor who removes every needless word.",
    "Think like a programmer whose program must read the answer.",
    "Imagine that the reader follows every word literally.",
    "Consider which words of the input carry its meaning.",
    "Look for a limit that makes the answer easier to check.",
    "Think about exceptions: what must stay as it is?",
    "Divide the task into small decisions and settle each of them.",
)

IMPROVE_MUTATION = "Summarise and improve the following instruction for changing instructions."
