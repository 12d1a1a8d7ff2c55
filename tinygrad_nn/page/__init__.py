"""The page that shows a model, what the compiler makes of it, and how it learns: one HTML file without a network.

`subject.py` has what everything is made from, one file per part makes its data, `document.py` the text of the page.
"""

from .report import Report as Report
from .report import report as report
