"""LoRA as text and as names: the setting, the prompt's tags, and the layouts of files. No torch."""
