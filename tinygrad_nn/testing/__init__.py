"""Gradient checking for users and for this project's own tests. `strategies` needs hypothesis (extra `test`) and is
imported by name.
"""

from .comparison import Report as Report
from .gradcheck import gradcheck as gradcheck
from .gradcheck import gradcheck_step as gradcheck_step
