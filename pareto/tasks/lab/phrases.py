"""The lab's words: prompts are topic x situation x audience, responses are one phrase per slot. All of it is data."""

from __future__ import annotations

TOPICS = (
    "How do I look after a houseplant?",
    "How do I fix a flat bicycle tyre?",
    "How do I save money each month?",
    "How do I sleep better at night?",
    "How do I stay safe online?",
    "How do I cook rice well?",
    "How do I learn a new language?",
    "How do I prepare for a job interview?",
    "How do I treat a small burn?",
    "How do I train a young dog?",
    "How do I store leftovers safely?",
    "How do I plan a weekend hike?",
    "How do I read a nutrition label?",
    "How do I remove a red wine stain?",
    "How do I back up my photos?",
    "How do I start running?",
)

SITUATIONS = (
    "I am in a hurry.",
    "I have all afternoon.",
    "It went wrong last time.",
    "I have very little money.",
)

AUDIENCES = (
    "Answer for a child.",
    "Answer for a beginner.",
    "Answer for an expert.",
    "Answer for my grandmother.",
)

SLOTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "opening",
        (
            "Good question.",
            "In short:",
            "Happy to help!",
            "Let us take it step by step.",
            "Right.",
            "First, do not worry.",
            "Here is what I know.",
            "Many people ask this.",
        ),
    ),
    (
        "answer",
        (
            "Start small and keep it simple.",
            "Follow the usual method.",
            "Use the right tool for it.",
            "Look at what you already have.",
            "Do it a little every day.",
            "Ask somebody who has done it.",
            "Read the instructions twice.",
            "Measure before you begin.",
        ),
    ),
    (
        "detail",
        (
            "Ten minutes are enough.",
            "The order of the steps matters most.",
            "Most mistakes happen at the start.",
            "Write down what worked.",
            "Warm water helps more than force.",
            "A cheap one does the job.",
            "Check the result in good light.",
            "Practice beats talent here.",
        ),
    ),
    (
        "caution",
        (
            "Be careful with anything sharp.",
            "Stop if it hurts.",
            "Nothing can go badly wrong.",
            "I may be wrong about the numbers.",
            "Never do this alone the first time.",
            "Do not trust every advert.",
            "Keep children and pets away.",
            "Some sources disagree.",
        ),
    ),
    (
        "closing",
        (
            "Good luck!",
            "Tell me how it went.",
            "That is all.",
            "Would you like an example?",
            "You can do it.",
            "Ask a professional if in doubt.",
            "Thank you for asking.",
            "See the manual for more.",
        ),
    ),
    (
        "postscript",
        (
            "P.S. Take your time.",
            "P.S. It gets easier.",
            "P.S. Keep the receipt.",
            "P.S. Share it with a friend.",
            "P.S. Patience pays.",
            "P.S. Small steps count.",
            "P.S. Start today.",
            "P.S. Make a list.",
        ),
    ),
)
"""Slot name and its phrases; a task uses the first `slots` slots and the first `choices` phrases of each."""

OBJECTIVES = ("helpful", "brief", "harmless", "honest", "warm", "engaging")
"""Names offered when a config does not name its own objectives."""
