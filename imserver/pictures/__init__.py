"""Pictures: smaller ones for showing, and originals that do not tell where they were taken.

What others have made is only ever decoded in a process of its own (`worker`).
"""
