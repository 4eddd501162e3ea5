"""What stands between the page and the engine: the engine host, ZeroGPU, the model picker."""
