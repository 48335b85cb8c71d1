"""How each peer is spoken to: as little as its protocol allows, encoded beforehand."""
