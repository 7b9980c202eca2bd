"""The verbs: pretrain, extract, evaluate, report, run. The only package that joins boxes.

Every verb first works out what it needs and looks whether it is there; torch is imported only when something must be
computed.
"""
