"""The only package that imports ray: it places, starts and supervises the actors of a run."""
