"""The values Lucid is made of, and the two interfaces that plugins implement.

Nothing here imports another part of Lucid, reads a clock or touches the world.
"""
