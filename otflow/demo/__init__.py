"""The demo: a workflow that answers questions from text files, offline and without a key.

It is an ordinary program written with otflow: it uses nothing that a user could not use, and no other room of the
package knows it but the command line.
"""
