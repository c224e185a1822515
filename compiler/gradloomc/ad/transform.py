"""The two derivatives of a function on IR: `jvp_of` (forward) and `vjp_of` (reverse); compose them for any order."""

from gradloomc.ad.linearize import jvp_of as jvp_of
from gradloomc.ad.transpose import vjp_of as vjp_of
