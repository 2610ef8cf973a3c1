"""What each stage loads and saves, under the same names as the stage: `load_judge`, `save_judge`."""
