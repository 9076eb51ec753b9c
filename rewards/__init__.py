"""The catalogue of verifiers: each is a function with its own cases. No verifier knows how verifiers are run.

To add a verifier, write a module beside these with a pure function of a sample and keyword parameters:

    from rlpost.records import Sample, Verdict
    from rlpost.scoring.authoring import Case, verifier

    @verifier(name="text.starts_with", version="1", isolation="inline", cases=(...))
    def starts_with(sample: Sample, *, casefold: bool = False) -> Verdict:
        \"\"\"1 when the response starts with the gold text.\"\"\"

and name it in a recipe as `module:function`, or give it a short name in the entry-point group `rlpost.verifiers` of
your distribution. The rules:

- At least three cases each of `accept`, `reject` and `adversarial`; a test checks every verifier here against its own.
- The score lies in [0, 1] unless the decorator declares another range. A text that deserves nothing gets score 0 with a
  reason. A gold that cannot be read gets `Verdict(fault=Fault.GOLD, ...)`, which never blames the model.
- `isolation="inline"` only for code whose time is bounded by the length of the text: no backtracking regular
  expressions, no parsers, no algebra. All other verifiers run in a process that is killed at its deadline.
- Heavy libraries are imported inside functions.
- A model's text is never evaluated, compiled or unpickled.
"""
