"""`python -m headstand VERB`: the verbs without a script of their own."""

from headstand import command
from headstand.errors import HeadstandError

VERBS = {"demo": "the main job from end to end, each step timed: python -m headstand demo [RECIPE]"}


def main(words: list[str]) -> None:
    """Do what the first word says."""
    verb = words[0] if words else "--help"
    if verb in ("-h", "--help"):
        print("python -m headstand VERB\n")
        print("\n".join(f"  {name:<8} {text}" for name, text in VERBS.items()))
        return
    if verb not in VERBS:
        raise HeadstandError(f"there is no verb {verb!r}; there are {', '.join(VERBS)}")
    from headstand import demo

    demo.run(words[1] if len(words) > 1 else "demo", words[2:])


if __name__ == "__main__":
    command.run(main)
