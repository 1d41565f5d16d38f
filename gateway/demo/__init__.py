"""A market to look at: a made-up loan book and made-up traders who use the public API like anybody else."""
