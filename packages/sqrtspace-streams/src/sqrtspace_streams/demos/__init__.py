"""Demonstrations, each with its plain baseline and a computed verdict; see `sqrtspace demo`."""
