"""Python imports this at its start in every process of a run that the chaos suite disturbs; see `chaos_faults`."""

import os

if "RLPOST_CHAOS" in os.environ:
    import chaos_faults

    chaos_faults.install(os.environ["RLPOST_CHAOS"])
