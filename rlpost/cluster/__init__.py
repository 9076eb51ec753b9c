"""The only package that imports ray: placement, actors, launch."""
