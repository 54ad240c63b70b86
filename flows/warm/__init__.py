"""The warm process of a store: Prefect and the flows are imported once, and each run is a fork of that.

    command ──▶ client ──socket──▶ server ──fork──▶ child: takes the caller's place, runs the command
       ▲           └────── signals, straight to it ────▶ │
       └──────────────── exit status ◀── server ◀────────┘

``place`` is where it lives, ``caller`` what a child takes over, ``client`` is all that a command imports.
"""
