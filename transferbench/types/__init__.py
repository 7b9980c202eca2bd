"""The frozen values that the boxes exchange. They know shapes, units and identities, read no file, need only numpy."""
