"""The fleet: which images belong on which hosts, and how they get there, as values and rules; it knows no Prefect.

    file ──▶ lock ──▶ plan ──▶ rollout (waves, verdicts) ──▶ status
    (a person's)  ▲        ▲                                    ▲
               registry    └──────── reports of the hosts ──────┘

``file``, ``lock``, ``report`` and ``order`` are documents, which travel as YAML or JSON: pydantic models. Everything
else here is a function of them.
"""
