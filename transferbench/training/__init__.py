"""Pretraining. Knows how to train any classifier of crops and to stop and resume; knows no net and no dataset."""
