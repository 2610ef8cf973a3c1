"""A server that speaks Ollama's protocol with seeded minds instead of models; every figure made with it says "simulated"."""
