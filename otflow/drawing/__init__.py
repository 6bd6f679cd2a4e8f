"""Drawing: pictures of what was recorded, as lines of styled text.

Everything here is pure. A drawing knows histories; it knows no terminal, no colour and no file: a style is a name, and
whoever prints the lines decides what it looks like.
"""
