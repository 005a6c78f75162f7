"""The demo: everything on one machine, with invented people, machines and an emergency that is over.

`__main__` is the entry; `supervisor` starts and watches the processes; `seeds` and `rehearsal` fill the
house through the same services that people use. Nothing here is meant for a machine in use: the passwords
and second factors are printed on the screen.
"""
