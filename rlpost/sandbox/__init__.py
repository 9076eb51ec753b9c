"""Runs model-written programs where they can do no harm. Verifiers with `isolation="sandbox"` call this package.

- `programs.run_program`: runs a whole program, from its standard input to its output.
- `examination.examine`: runs the asserts of a data set on the functions of a program, in two isolated processes.
- `self_test.containment`: reports which protections hold on this machine, and how a handful of attacks ended.

Each process that runs programs has one launcher (`launcher_main`): a bare interpreter that builds an empty root file
system for itself, gives up its privileges, and then forks once per program. A program therefore starts in an
interpreter that has run nothing else, without the cost of starting one. It has its own user, process, mount, network
and IPC namespaces, and is confined by Landlock, a seccomp filter and hard resource limits. On a machine without
namespaces, Landlock and seccomp alone contain the program; where these are missing too, it is not run.
"""
