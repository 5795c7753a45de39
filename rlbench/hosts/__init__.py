"""One run over many processes: who they are, what they tell each other, and how one that is lost
ends the rest.
"""
