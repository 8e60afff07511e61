"""Presets: pipelines for a loader, by the recipes that papers describe.

recipe      Step, View, Recipe, Preset, describe: presets as data
steps       the transforms that recipes are written in
supervised  supervised_train, supervised_val
simclr      simclr, simclr_standard
siamese     byol, mocov3, barlow_twins, vicreg
multicrop   ipcl, lejepa, multicrop, dino
masked      mae, ijepa
table       PRESETS: all of them by name
"""
